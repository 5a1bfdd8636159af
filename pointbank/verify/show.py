"""The report as a table that a person likes to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pointbank.verify.report import Report

_WIDEST = 10_000
"""Columns that the table fits into."""
ASK_AGAIN = (
    "Nothing else is broken: this was on its way. Ask again with --wait 60; what stands there a quarter of an hour "
    "later too is stuck."
)
_STYLES = {"holds": "green", "broken": "bold red", "not checked": "dim"}


def show(report: Report, console: Console, *, unchecked: bool = False) -> None:
    """Prints the checks by invariant, with what they compared, then examples of what is broken. Checks that compared nothing are
    counted by why, in one line; `unchecked` lists them."""
    table = Table(title=f"Tenant {report.tenant}", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("check", no_wrap=True)
    table.add_column("")
    table.add_column("broken", justify="right", no_wrap=not unchecked)
    table.add_column("what must hold")
    for check in sorted(report, key=lambda check: check.invariant):
        verdict = check.verdict
        if verdict == "not checked" and not unchecked:
            continue
        counted = f"{check.broken:,} of {check.compared:,}" if verdict != "not checked" else check.why_not
        says = check.says + "".join(f"; {n:,} {what}" for what, n in check.notes.items())
        table.add_row(str(check.invariant), check.name, Text(verdict, _STYLES[verdict]), counted, says)
    _print(table, console)
    if why := Counter(check.why_not for check in report if check.verdict == "not checked"):
        said = ", ".join(f"{n:,} ({reason})" for reason, n in why.most_common())
        console.print(f"not checked: {said}{'' if unchecked else '; --unchecked lists them'}", soft_wrap=True)
    if report.went_on is not None:
        console.print(f"gone on with {report.went_on}")
    for check in report.broken:
        for example in check.examples:
            console.print(Text(f"{check.name}: {example}", "red"))
        if check.broken > len(check.examples):
            console.print(Text(f"{check.name}: and {check.broken - len(check.examples):,} more", "red"))
    word = Text("holds", "green") if report else Text("BROKEN", "bold red")
    if report.only_on_the_way:
        console.print(ASK_AGAIN, soft_wrap=True)
        word = Text("NOT SETTLED", "yellow")
    console.print(word, f"in {report.seconds:.1f} s")


def _print(table: Table, console: Console) -> None:
    """As wide as names need it: they are looked up in docs/verify.md, and stand whole."""
    need = Measurement.get(console, console.options.update(max_width=_WIDEST), table)
    width = max(console.width, need.minimum)
    Console(file=console.file, width=width, force_terminal=console.is_terminal, highlight=False).print(table)


@contextmanager
def watched(console: Console) -> Iterator[Callable[[str], None] | None]:
    """What is being read just now, on a terminal; elsewhere nobody watches."""
    if not console.is_terminal:
        yield None
        return
    with console.status("reading") as status:
        yield lambda what: status.update(f"reading {what}")
