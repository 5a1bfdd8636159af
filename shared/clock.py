"""Clocks. Domain time comes from the tenant's clock; partitions, leases, tokens and event ids use the real one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

Clock = Callable[[], datetime]
"""Gives the present as an aware datetime in UTC."""


def real_clock() -> datetime:
    """The machine's clock, UTC."""
    return datetime.now(UTC)


_MARGIN = timedelta(days=2)
"""No time zone is so far from UTC, and no day so long: within it of its ends the calendar can't be reckoned with. Its very ends are
also what the database's driver takes for minus and plus infinity."""


def as_utc(moment: datetime) -> datetime:
    """An aware moment as UTC. ValueError for one at the ends of the calendar (years 1 and 9999)."""
    try:
        found = moment.astimezone(UTC)
    except OverflowError:
        found = datetime.max.replace(tzinfo=UTC)
    check_day(found.date())
    return found


def check_day(day: date) -> date:
    """The day. ValueError for one at the ends of the calendar, where no time zone has all of it."""
    if not date.min + _MARGIN <= day <= date.max - _MARGIN:
        raise ValueError("this time lies outside the calendar")
    return day
