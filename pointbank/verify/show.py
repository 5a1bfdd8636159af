"""The report as a table that a person likes to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointbank.verify.report import Report

_STYLES = {"holds": "green", "broken": "bold red", "not checked": "dim"}


def show(report: Report, console: Console) -> None:
    """Prints the checks by invariant, with what they compared, then examples of what is broken."""
    table = Table(title=f"Tenant {report.tenant}", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("check")
    table.add_column("")
    table.add_column("broken", justify="right")
    table.add_column("what must hold")
    for check in sorted(report, key=lambda check: check.invariant):
        verdict = check.verdict
        counted = f"{check.broken:,} of {check.compared:,}" if verdict != "not checked" else check.why_not
        says = check.says + "".join(f"; {n:,} {what}" for what, n in check.notes.items())
        table.add_row(str(check.invariant), check.name, Text(verdict, _STYLES[verdict]), counted, says)
    console.print(table)
    if report.went_on is not None:
        console.print(f"gone on with {report.went_on}")
    for check in report.broken:
        for example in check.examples:
            console.print(Text(f"{check.name}: {example}", "red"))
        if check.broken > len(check.examples):
            console.print(Text(f"{check.name}: and {check.broken - len(check.examples):,} more", "red"))
    word = Text("holds", "green") if report else Text("BROKEN", "bold red")
    console.print(word, f"in {report.seconds:.1f} s")


@contextmanager
def watched(console: Console) -> Iterator[Callable[[str], None] | None]:
    """What is being read just now, on a terminal; elsewhere nobody watches."""
    if not console.is_terminal:
        yield None
        return
    with console.status("reading") as status:
        yield lambda what: status.update(f"reading {what}")
