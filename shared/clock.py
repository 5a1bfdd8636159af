"""Clocks. Domain time comes from the tenant's clock; partitions, leases, tokens and event ids use the real one."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

Clock = Callable[[], datetime]
"""Gives the present as an aware datetime in UTC."""


def real_clock() -> datetime:
    """The machine's clock, UTC."""
    return datetime.now(UTC)


MAY_DIFFER = timedelta(seconds=5)
"""So far the clocks of two processes may be apart: what one of them decides holds for the other."""

SLOW = timedelta(seconds=1)
"""An answer that took longer came when it may not have been so late any more."""


def _running_s() -> float:
    """Seconds that go on, whatever clocks are set to; also while the machine sleeps, where it counts that."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def ahead(theirs: datetime, *, before: datetime, after: datetime) -> timedelta:
    """How far our clock is ahead of theirs, at least; below zero: behind. They showed it between these two moments of ours."""
    return max(before - theirs, timedelta()) - max(theirs - after, timedelta())


class TenantClock:
    """The clock of a tenant that was given none of its own: the machine's, unless that is further from PostgreSQL's than clocks may
    differ. Then it is PostgreSQL's, as it was seen last and has gone on since: all processes of a tenant have that one."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        """How far the machine's was ahead when the two were compared last."""
        self._compared = False
        self._theirs: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        if self._theirs is None:
            return real_clock()
        shown, seen_at = self._theirs
        return shown + timedelta(seconds=_running_s() - seen_at)

    def compare(self, theirs: datetime, *, before: datetime, after: datetime) -> None:
        """PostgreSQL's was asked for, showed that, and has answered just now. What came slowly says little: it counts where
        nothing is known yet."""
        if self._compared and after - before > SLOW:
            return
        self._compared, self.ahead = True, ahead(theirs, before=before, after=after)
        self._theirs = (theirs, _running_s()) if self.is_wrong else None

    @property
    def is_wrong(self) -> bool:
        """Whether the machine's can't be gone by: another's may be as far off, the other way."""
        return abs(self.ahead) > MAY_DIFFER / 2


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
