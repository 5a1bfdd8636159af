"""Days, and what they begin: by the calendar of a programme's time zone, for whatever counts in one. Nobody else reckons."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Period = Literal["day", "week", "month", "year"]


def day_of(at: datetime, zone: ZoneInfo) -> date:
    """The day that clocks show then. At an end of the calendar, which documents say for always, they may show none: then its first
    or last."""
    try:
        return at.astimezone(zone).date()
    except OverflowError:
        return date.max if at.year == date.max.year else date.min


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a calendar day in UTC, also where clocks change at midnight."""
    # fold=0 of a midnight that the clocks jump over is the jump itself: the day's first instant.
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The first instant after a calendar day, in UTC."""
    return start_of_day(day + timedelta(days=1), zone)


def since(period: Period, day: date) -> date:
    """The first day of the period that the day lies in; weeks begin on Monday."""
    match period:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)


def period_start(period: Period, at: datetime, zone: ZoneInfo) -> datetime:
    """The first instant, in UTC, of the period that it is then in that zone."""
    return start_of_day(since(period, day_of(at, zone)), zone)
