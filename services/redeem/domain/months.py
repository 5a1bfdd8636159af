"""Months as the ledger is divided and closed by: calendar months in UTC, by `posted_at`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Before any line: where the open lines begin while no month is closed."""

SETTLED_AFTER = timedelta(hours=1)
"""How long a month must be over before it is closed: far beyond any difference between PostgreSQL's clocks."""


def month_of(moment: datetime) -> datetime:
    """The first instant of a moment's month."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_after(month: datetime) -> datetime:
    """The first instant of the month after one, given by its first instant."""
    return month_of(month + timedelta(days=31))


def next_to_close(first: datetime, closed: datetime | None, clock: datetime) -> datetime | None:
    """The end of the next month to close, in their order; None while that month is not over, or not long enough."""
    as_of = month_after(first if closed is None else closed)
    return as_of if clock >= as_of + SETTLED_AFTER else None


class Base(NamedTuple):
    """What a past balance is made of: the snapshot at `begins`, the lines posted from there to `ends`, and those not closed."""

    begins: datetime
    ends: datetime


def base_of(moment: datetime, closed: datetime) -> Base:
    """The month that a moment lies in; an empty one at `closed` for a moment that no closed month has."""
    if moment >= closed:
        return Base(closed, closed)
    begins = month_of(moment)
    return Base(begins, month_after(begins))
