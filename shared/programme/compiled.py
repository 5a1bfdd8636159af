"""A programme version as a bill is judged with it: frozen, integers only, nothing looked up twice.

How lines become points is at the head of `rules`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from shared.money import Money, Ratio, Worth, decimal_ratio, minor_per_point
from shared.programme.campaigns import CompiledCampaign, Limits, caps_of, compile_campaign
from shared.programme.earning import Earning
from shared.programme.model import Expiry, MonthsAfterEarning, Programme
from shared.programme.rules import Earned, EarnedByRule, JudgedLine, Rulebook, compile_rules
from shared.programme.subject import Line, Subject
from shared.programme.validation import validate

__all__ = [
    "CompiledProgramme",
    "CompiledTier",
    "Earned",
    "EarnedByRule",
    "JudgedLine",
    "compile_programme",
    "start_of_day",
]


@dataclass(frozen=True, slots=True)
class CompiledTier:
    code: str
    name: Mapping[str, str]
    multiplier: Ratio
    threshold: int
    """Qualifying points to enter; 0 for the first tier."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledProgramme:
    """One version of a programme. Compare by `code` and `version`."""

    code: str
    version: int
    name: Mapping[str, str]
    currency: str
    point_value: str
    minor_per_point: Ratio
    zone: ZoneInfo
    card_prefix: str
    backdating: timedelta | None
    """How long ago a bill may have happened; None: however long."""
    book: Rulebook
    limits: Limits | None
    """What bounds its points besides the rules; None: nothing does."""
    consumption: str
    minimum_points: int
    step_points: int
    lifecycle: Literal["calendar_year", "lifetime"] | None
    ladder: tuple[CompiledTier, ...]
    _expires: Callable[[datetime], datetime] | None

    def worth(self, points: int) -> Worth:
        """Points with their money, ready for the wire."""
        numerator, denominator = self.minor_per_point
        minor = points * numerator // denominator if points >= 0 else -(-points * numerator // denominator)
        return Worth(points, Money(minor, self.currency))

    def expires_at(self, effective_at: datetime) -> datetime | None:
        """When points earned at that instant expire: the first instant, in UTC, after their last usable day.
        None: never."""
        return None if self._expires is None else self._expires(effective_at)

    @property
    def denominator(self) -> int:
        """What exact points are counted in parts of."""
        return self.book.denominator

    def earn(
        self, lines: Sequence[Line], total_minor: int, tier: str | None, subject: Subject | None = None
    ) -> Earned:
        """What the lines of a bill are worth to a member of that tier, as the head of `rules` says. Where the book is
        plain a bill without tenders needs no subject."""
        return self.book.earn(lines, total_minor, tier, subject)


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a calendar day in UTC, also where clocks change at midnight."""
    # fold=0 of a midnight that the clocks jump over is the jump itself: the day's first instant.
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def compile_programme(document: Mapping[str, Any], version: int) -> CompiledProgramme:
    """A version of a programme, ready to judge with; refuses programme_invalid like `validate`."""
    programme = validate(document)
    header, earning, redemption = programme.programme, programme.earning, programme.redemption
    ladder = _ladder(programme)
    multipliers: dict[str | None, Ratio] = {None: ladder[0].multiplier if ladder else (1, 1)}
    multipliers |= {tier.code: tier.multiplier for tier in ladder}
    zone, per_point = ZoneInfo(header.time_zone), minor_per_point(header.point_value, header.currency)
    earning = earning or Earning()
    campaigns = [compile_campaign(one, zone, per_point) for one in earning.campaigns]
    return CompiledProgramme(
        code=header.code,
        version=version,
        name=header.name,
        currency=header.currency,
        point_value=header.point_value,
        minor_per_point=per_point,
        zone=zone,
        card_prefix=header.card_prefix,
        backdating=None if header.backdating_days == "unlimited" else timedelta(days=header.backdating_days),
        book=compile_rules(earning, multipliers, campaigns),
        limits=_limits(header.code, zone, earning, campaigns),
        consumption=redemption.consumption if redemption is not None else "oldest_earned",
        minimum_points=redemption.minimum_points if redemption is not None else 1,
        step_points=redemption.step_points if redemption is not None else 1,
        lifecycle=programme.tiers.lifecycle if programme.tiers is not None else None,
        ladder=ladder,
        _expires=_expiry(programme.expiry, zone),
    )


def _limits(
    programme: str, zone: ZoneInfo, earning: Earning, campaigns: Sequence[CompiledCampaign]
) -> Limits | None:
    caps = caps_of(earning.member_caps)
    if not campaigns and not caps and earning.maximum.bill is None:
        return None
    return Limits(programme, zone, {one.code: one for one in campaigns}, earning.maximum.bill, caps)


def _ladder(programme: Programme) -> tuple[CompiledTier, ...]:
    if programme.tiers is None:
        return ()
    return tuple(
        CompiledTier(
            code=tier.code,
            name=tier.name,
            multiplier=decimal_ratio(tier.multiplier),
            threshold=tier.entry.points.gte if tier.entry is not None else 0,
        )
        for tier in programme.tiers.ladder
    )


def _expiry(expiry: Expiry, zone: ZoneInfo) -> Callable[[datetime], datetime] | None:
    if not isinstance(expiry, MonthsAfterEarning):
        return None
    to_month_end = expiry.round_to == "month_end"
    # relativedelta clamps to the month's length; day=31 is any month's last day.
    later = (
        relativedelta(months=expiry.months, day=31) if to_month_end else relativedelta(months=expiry.months)
    )

    @lru_cache(maxsize=4096)
    def day(earned_on: date) -> tuple[datetime, datetime, datetime]:
        since, until = start_of_day(earned_on, zone), start_of_day(earned_on + timedelta(days=1), zone)
        if until - since != timedelta(days=1):
            until = since  # clocks that are put back at midnight may come to the day before a second time
        return since, until, start_of_day(earned_on + later + timedelta(days=1), zone)

    # Bills come as they happen, most on one day; to find the day of an instant costs more than the rest.
    since, until, expires = day(date(1970, 1, 1))

    def expires_at(effective_at: datetime) -> datetime:
        nonlocal since, until, expires
        if not since <= effective_at < until:
            since, until, expires = day(effective_at.astimezone(zone).date())
        return expires

    return expires_at
