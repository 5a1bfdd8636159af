"""What the demo shows at its end: the figures, new and total, and the ten invariants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointbank.demo.arithmetic import Expected
from pointbank.figures import Figures

LADDER = ("blue", "silver", "gold")


@dataclass(frozen=True)
class Moment:
    """The books at one moment: by the generator's own arithmetic, and as the services keep them."""

    expected: Expected
    kept: Figures


@dataclass(frozen=True)
class Invariant:
    number: int
    name: str
    verdict: Literal["holds", "broken", "not checked", "elsewhere"]
    told: str


def show_figures(console: Console, *, before: Moment, after: Moment, bills: int, seconds: float) -> bool:
    """Prints the figures; whether what is new is what was expected.

    Totals are shown and not judged: this journal is not all that may happen to a tenant.
    """
    rows = _compared(before, after)
    table = Table(title="What came of it", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in ("new expected", "new kept", "total expected", "total kept"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, new_expected, new_kept, expected, kept in rows:
        style = "" if new_expected == new_kept else "bold red"
        table.add_row(
            name, *(f"{value:,}" for value in (new_expected, new_kept, expected, kept)), style=style
        )
    for tier in LADDER:
        now, then = after.kept.tiers.get(tier, 0), before.kept.tiers.get(tier, 0)
        table.add_row(f"members in {tier}", "", f"{now - then:+,}", "", f"{now:,}")
    for state, now in sorted(after.kept.messages.items()):
        table.add_row(
            f"messages {state}", "", f"{now - before.kept.messages.get(state, 0):,}", "", f"{now:,}"
        )
    table.add_row("bills/s to settled", "", f"{bills / seconds:,.0f}", "", "")
    console.print(table)
    if others := _others(rows):
        console.print(
            f"Beside this journal the books had, before this run: {others}", style="dim", highlight=False
        )
    return all(row.new_expected == row.new_kept for row in rows)


def show_invariants(console: Console, invariants: list[Invariant]) -> bool:
    """Prints the ten; whether each holds, or is checked elsewhere. What compared nothing has shown nothing."""
    table = Table(title="What must never break", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("invariant")
    table.add_column("")
    table.add_column("checked")
    styles = {"holds": "green", "broken": "bold red", "not checked": "bold red", "elsewhere": "dim"}
    for one in invariants:
        table.add_row(str(one.number), one.name, Text(one.verdict, styles[one.verdict]), one.told)
    console.print(table)
    return all(one.verdict in {"holds", "elsewhere"} for one in invariants)


class _Row(NamedTuple):
    name: str
    new_expected: int
    new_kept: int
    expected: int
    kept: int


def _compared(before: Moment, after: Moment) -> list[_Row]:
    def pairs(moment: Moment) -> dict[str, tuple[int, int]]:
        wanted, kept = moment.expected, moment.kept
        return {
            "bills": (wanted.bills, kept.bills),
            "members": (len(wanted.members), kept.members),
            "points earned": (wanted.points, kept.buckets["earned"]),
            "points available": (wanted.available, kept.buckets["available"]),
            "points held": (0, kept.buckets["held"]),
            "points reserved": (0, kept.buckets["reserved"]),
            "points redeemed": (wanted.redeemed, kept.buckets["redeemed"]),
        }

    then, now = pairs(before), pairs(after)
    return [
        _Row(name, now[name][0] - then[name][0], now[name][1] - then[name][1], *now[name]) for name in now
    ]


def _others(rows: list[_Row]) -> str:
    """What the books had beside the journal's before this run; "" where that was nothing."""
    beside = {row.name: (row.kept - row.new_kept) - (row.expected - row.new_expected) for row in rows}
    return ", ".join(f"{name} {points:+,}" for name, points in beside.items() if points)
