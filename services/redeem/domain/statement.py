"""A day's statement of a merchant: what it accepted in points, less what was returned, by terminal and together."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from shared.money import Money, Worth, told
from shared.programme.days import day_of, end_of_day, start_of_day

SETTLED = timedelta(minutes=5)
"""No transaction takes as long: so long after its end a day changes no more."""


class Row(NamedTuple):
    """What moved at a terminal; `rewards`: of what bought rewards. Counts, points, and minor units."""

    merchant: str
    terminal: str | None
    rewards: bool
    captured: int
    captured_points: int
    captured_minor: int
    returned: int
    returned_points: int
    returned_minor: int


class Figures(msgspec.Struct, frozen=True):
    """`accepted` is captured less returned: below zero where more came back than was taken that day. `rewards`: points that bought
    rewards there, less those that came back; they paid for no bill and are not in `accepted`."""

    captures: int
    captured: Worth
    returns: int
    returned: Worth
    accepted: Worth
    rewards: Worth


class OfTerminal(msgspec.Struct, frozen=True):
    """`terminal` null: none was named."""

    terminal: str | None
    figures: Figures


class Statement(msgspec.Struct, frozen=True):
    """One merchant's day in one programme. `settled`: the day is over, and nothing is added any more."""

    merchant: str
    programme: str
    currency: str
    day: date
    since: datetime
    until: datetime
    settled: bool
    terminals: tuple[OfTerminal, ...]
    total: Figures


def bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The first instant of the day where the programme lives, and that of the next, in UTC."""
    return start_of_day(day, zone), end_of_day(day, zone)


def yesterday(now: datetime, zone: ZoneInfo) -> date:
    """The last day that is over there."""
    return day_of(now, zone) - timedelta(days=1)


def statement(
    merchant: str,
    rows: Iterable[Row],
    *,
    programme: str,
    currency: str,
    day: date,
    zone: ZoneInfo,
    now: datetime,
) -> Statement:
    """The statement that these rows, all of this merchant, come to."""
    by_terminal: dict[str | None, list[Row]] = {}
    for row in rows:
        by_terminal.setdefault(row.terminal, []).append(row)
    since, until = bounds(day, zone)
    return Statement(
        merchant,
        programme,
        currency,
        day,
        since,
        until,
        until + SETTLED <= now,
        tuple(OfTerminal(terminal, _figures(own, currency)) for terminal, own in by_terminal.items()),
        _figures([row for own in by_terminal.values() for row in own], currency),
    )


def _figures(rows: list[Row], currency: str) -> Figures:
    def worth(points: int, minor: int) -> Worth:
        return Worth(points, Money(told(minor), currency))

    bills = [row for row in rows if not row.rewards]
    rewards = [row for row in rows if row.rewards]
    captured = sum(row.captured_points for row in bills), sum(row.captured_minor for row in bills)
    returned = sum(row.returned_points for row in bills), sum(row.returned_minor for row in bills)
    return Figures(
        sum(row.captured for row in bills),
        worth(*captured),
        sum(row.returned for row in bills),
        worth(*returned),
        worth(captured[0] - returned[0], captured[1] - returned[1]),
        worth(
            sum(row.captured_points - row.returned_points for row in rewards),
            sum(row.captured_minor - row.returned_minor for row in rewards),
        ),
    )
