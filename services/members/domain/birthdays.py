"""Whose birthday it is: a day of the programme's own calendar, told once a year.

Who was born on 29 February has it on 28 February of other years. A day is told for up to `LOOK_BACK` days after it began, so that a
job that did not run tells it late and not never; who joined after the day was over is not told of it.

Three segments are stays around it, for programmes whose campaigns, rules or ladder ask for them: `birthday` is the day itself,
`birthday-week` from three days before to three days after, `birthday-month` the month that it is in. A stay is told some days
before it begins, so that a bill of its first minute is judged by it.
"""

from calendar import isleap, monthrange
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from shared.programme.days import day_of, end_of_day, start_of_day

LOOK_BACK = 7


AHEAD = 7
"""Days before it begins, a stay is told."""

SEGMENTS = ("birthday", "birthday-week", "birthday-month")


class TellBirthdays(msgspec.Struct, frozen=True):
    """Tell of birthdays that are due, some hundred at a time. `dry_run`: only count them."""

    dry_run: bool = False


class Turn(msgspec.Struct, frozen=True):
    """What one turn came to: how many birthdays were told, or would be; how many are due still; and how many stays in the segments
    around them were told."""

    told: int
    left: int
    dry_run: bool
    stays: int = 0


class Day(NamedTuple):
    """A day of a programme's calendar on which those have their birthday who were born on this day of this month."""

    programme: str
    year: int
    month: int
    day: int
    begins_at: datetime
    ends_at: datetime


class Window(NamedTuple):
    """The stay in a segment, on a programme's calendar, of those who were born on this day of this month."""

    programme: str
    segment: str
    month: int
    day: int
    from_at: datetime
    until_at: datetime


def windows(asking: Iterable[tuple[str, ZoneInfo, Iterable[str]]], now: datetime) -> Iterator[Window]:
    """The stays that are told by now, in the segments that each programme asks for: of those that begin soon, that last, and that
    were over not long ago."""
    for programme, zone, segments in asking:
        today = day_of(now, zone)
        for segment in segments:
            for offset in range(-LOOK_BACK - 31, AHEAD + 32):
                day = today + timedelta(days=offset)
                first, last = _around(segment, day)
                if first > today + timedelta(days=AHEAD) or last < today - timedelta(days=LOOK_BACK):
                    continue
                begins, ends = start_of_day(first, zone), end_of_day(last, zone)
                yield Window(programme, segment, day.month, day.day, begins, ends)
                if (day.month, day.day) == (2, 28) and not isleap(day.year):
                    yield Window(programme, segment, 2, 29, begins, ends)


def _around(segment: str, day: date) -> tuple[date, date]:
    """The first and the last day of the stay of whose birthday that is."""
    if segment == "birthday-week":
        return day - timedelta(days=3), day + timedelta(days=3)
    if segment == "birthday-month":
        return day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1])
    return day, day


def days(zones: Iterable[tuple[str, ZoneInfo]], now: datetime) -> Iterator[Day]:
    """The days of each programme that may still be told of, today first."""
    for programme, zone in zones:
        today = day_of(now, zone)
        for back in range(LOOK_BACK):
            day = today - timedelta(days=back)
            begins, ends = start_of_day(day, zone), end_of_day(day, zone)
            yield Day(programme, day.year, day.month, day.day, begins, ends)
            if (day.month, day.day) == (2, 28) and not isleap(day.year):
                yield Day(programme, day.year, 2, 29, begins, ends)
