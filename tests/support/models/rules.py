"""What a programme's document says to the model, and what was spent in a day; it shares no code with the service."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Protocol

RIYADH = timedelta(hours=3)
CLOCKS = timedelta(seconds=5)
"""An authorisation counts so long after its time: the clock of another process may be behind."""


@dataclass(frozen=True)
class Accepts:
    """What of the one merchant takes points, up to what share of it."""

    terminals: tuple[str, ...]
    categories: tuple[str, ...]
    share: Fraction


@dataclass(frozen=True)
class Rules:
    """What the programme's document says. `minor` is what a point is worth in minor units."""

    minor: Fraction
    minimum: int
    step: int
    authorised_for: timedelta
    returned_within: timedelta
    renewed: bool
    allowed: int
    allowed_for: timedelta
    reported_within: timedelta
    earliest_expiry: bool
    holds_expire: bool
    ends_with_day: bool
    """Points expire with the day in which they are earned; else never."""
    from_release: bool = False
    """The time of held points runs from each release of their lot."""
    daily: int | None = None
    """A member spends no more in a day of Riyadh."""
    silent_months: int | None = None
    """A balance lasts up to and including the same day so many months after its member's last act."""
    share: Fraction | None = None
    """Points pay for no more of a bill, which must be said."""
    velocity: tuple[timedelta, int] | None = None
    """Within so long a member makes no more redemptions."""
    accepts: Accepts | None = None
    """Points are taken there only; without it everywhere."""

    def worth(self, points: int) -> int:
        return int(points * self.minor) if points >= 0 else -int(-points * self.minor)

    def price(self, minor: int) -> int:
        return -(-minor // self.minor)


def silence_ends(rules: Rules) -> Callable[[datetime], datetime] | None:
    """When a balance ends whose member did something last at a moment; None: by silence never."""
    if rules.silent_months is None:
        return None
    months = rules.silent_months

    def ends(at: datetime) -> datetime:
        local = (at + RIYADH).replace(hour=0, minute=0, second=0, microsecond=0)
        years, month = divmod(local.month - 1 + months, 12)
        year = local.year + years
        day = min(local.day, monthrange(year, month + 1)[1])
        return local.replace(year=year, month=month + 1, day=day) + timedelta(days=1) - RIYADH

    return ends


class Spent(Protocol):
    """A redemption, as far as a day's limit looks at it."""

    points: int
    captured: int
    returned: int
    state: str
    at: datetime
    until: datetime | None


def begins(now: datetime, per: str) -> datetime:
    """Since when a limit counts."""
    local = (now + RIYADH).replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "ever":
        return datetime.min.replace(tzinfo=UTC)
    return (local if per == "day" else local.replace(day=1)) - RIYADH


def spent_today(sales: Iterable[Spent], now: datetime) -> int:
    """What was spent in this day of Riyadh, or is set aside, less what was returned."""
    spent = 0
    for one in sales:
        over = one.state == "voided" or (one.state == "authorised" and now >= (one.until or now) + CLOCKS)
        if one.at >= begins(now, "day") and not over:
            spent += (one.captured if one.state == "captured" else one.points) - one.returned
    return spent
