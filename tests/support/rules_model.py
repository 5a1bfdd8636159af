"""What a programme's document says to the model, and what is left of a day by it; it shares no code with the service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Protocol

RIYADH = timedelta(hours=3)
CLOCKS = timedelta(seconds=5)
"""An authorisation counts so long after its time: the clock of another process may be behind."""
WITHOUT_END = 10**12


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

    def worth(self, points: int) -> int:
        return int(points * self.minor) if points >= 0 else -int(-points * self.minor)

    def price(self, minor: int) -> int:
        return -(-minor // self.minor)


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


def left_today(rules: Rules, sales: Iterable[Spent], now: datetime) -> int:
    """What a member may still spend today, whatever there is."""
    if rules.daily is None:
        return WITHOUT_END
    spent = 0
    for one in sales:
        over = one.state == "voided" or (one.state == "authorised" and now >= (one.until or now) + CLOCKS)
        if one.at >= begins(now, "day") and not over:
            spent += (one.captured if one.state == "captured" else one.points) - one.returned
    return max(rules.daily - spent, 0)
