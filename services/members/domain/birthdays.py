"""Whose birthday it is: a day of the programme's own calendar, told once a year.

Who was born on 29 February has it on 28 February of other years. A day is told for up to `LOOK_BACK` days after it began, so that a
job that did not run tells it late and not never; who joined after the day was over is not told of it.
"""

from calendar import isleap
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from shared.programme.expiry import start_of_day

LOOK_BACK = 7


class TellBirthdays(msgspec.Struct, frozen=True):
    """Tell of birthdays that are due, some hundred at a time. `dry_run`: only count them."""

    dry_run: bool = False


class Turn(msgspec.Struct, frozen=True):
    """What one turn came to: how many were told, or would be, and how many are due still."""

    told: int
    left: int
    dry_run: bool


class Day(NamedTuple):
    """A day of a programme's calendar on which those have their birthday who were born on this day of this month."""

    programme: str
    year: int
    month: int
    day: int
    begins_at: datetime
    ends_at: datetime


def days(zones: Iterable[tuple[str, ZoneInfo]], now: datetime) -> Iterator[Day]:
    """The days of each programme that may still be told of, today first."""
    for programme, zone in zones:
        today = now.astimezone(zone).date()
        for back in range(LOOK_BACK):
            day = today - timedelta(days=back)
            begins, ends = start_of_day(day, zone), start_of_day(day + timedelta(days=1), zone)
            yield Day(programme, day.year, day.month, day.day, begins, ends)
            if (day.month, day.day) == (2, 28) and not isleap(day.year):
                yield Day(programme, day.year, 2, 29, begins, ends)
