"""A programme version as a bill is judged with it: frozen, integers only, nothing looked up twice.

How lines become points is at the head of `rules`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from shared.money import Money, Ratio, Worth, decimal_ratio, minor_per_point
from shared.programme.acts import CompiledAct, compile_act
from shared.programme.adjusting import Adjusting, compile_adjusting
from shared.programme.campaigns import CompiledCampaign, Limits, caps_of, compile_campaign
from shared.programme.checkout import compile_card
from shared.programme.compiling import compile_rules
from shared.programme.days import day_of, end_of_day
from shared.programme.earned import Earned, EarnedByRule, JudgedLine
from shared.programme.earning import Earning
from shared.programme.expiry import UNKNOWN_BIRTH_MONTH, CompiledExpiry, compile_expiry
from shared.programme.gift_cards import CompiledGiftCards, compile_gift_cards
from shared.programme.guards import Guard, compile_guards
from shared.programme.model import Lifecycle, OnSpent, Programme
from shared.programme.redeeming import Redeeming, compile_redeeming
from shared.programme.rules import Rulebook
from shared.programme.subject import Line, Subject
from shared.programme.validation import as_kept

__all__ = [
    "CompiledProgramme",
    "CompiledTier",
    "Earned",
    "EarnedByRule",
    "JudgedLine",
    "OnSpent",
    "compile_programme",
]


@dataclass(frozen=True, slots=True)
class CompiledTier:
    code: str
    name: Mapping[str, str]
    multiplier: Ratio
    threshold: int
    """Qualifying points to enter; 0 for the first tier, and where a condition alone decides."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledProgramme:
    """One version of a programme. Compare by `code` and `version`."""

    code: str
    version: int
    name: Mapping[str, str]
    currency: str
    accepts: frozenset[str]
    """Other currencies in which bills are taken."""
    point_value: str
    minor_per_point: Ratio
    zone: ZoneInfo
    card_prefix: str
    closed: bool
    """Whether nothing is earned, redeemed, joined or loaded under it."""
    backdating: timedelta | None
    """How long ago a bill may have happened; None: however long."""
    book: Rulebook
    limits: Limits | None
    """What bounds its points besides the rules; None: nothing does."""
    guards: tuple[Guard, ...]
    """What makes a bill odd; none: it is not looked for."""
    consumption: str
    minimum_points: int
    step_points: int
    redeeming: Redeeming
    adjusting: Adjusting
    on_spent: OnSpent
    expiry: CompiledExpiry
    refund_window_days: int | None
    """Until the end of which day after the bill its refund still moves points; None: for ever."""
    lifecycle: Lifecycle | None
    ladder: tuple[CompiledTier, ...]
    gift_cards: CompiledGiftCards | None
    """None: the programme has none."""
    acts: Mapping[str, CompiledAct]
    """What earns besides bills, by code."""
    referral: CompiledAct | None
    """That of them which comes of a referral."""
    _expires: Callable[[datetime], datetime] | None

    def worth(self, points: int) -> Worth:
        """Points with their money, ready for the wire."""
        numerator, denominator = self.minor_per_point
        minor = points * numerator // denominator if points >= 0 else -(-points * numerator // denominator)
        return Worth(points, Money(minor, self.currency))

    def expires_at(self, effective_at: datetime, birth_month: int | None = None) -> datetime | None:
        """When points earned at that instant by a member born in that month (None: not known) expire: the first instant, in UTC,
        after their last usable day. None: never."""
        if self._expires is not None:
            return self._expires(effective_at)
        if (ends := self.expiry.by_birth_month) is not None:
            return ends[(birth_month or UNKNOWN_BIRTH_MONTH) - 1](effective_at)
        return None

    def refund_closes_at(self, occurred_at: datetime) -> datetime | None:
        """The first instant, in UTC, at which a refund of a bill of that time moves no points any more. None: never."""
        if self.refund_window_days is None:
            return None
        day = day_of(occurred_at, self.zone)
        return end_of_day(day + timedelta(days=self.refund_window_days), self.zone)

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


def compile_programme(document: Mapping[str, Any], version: int) -> CompiledProgramme:
    """A version of a programme, ready to judge with; refuses tenant_migrating like `as_kept`."""
    programme = as_kept(document)
    header, earning, redemption = programme.programme, programme.earning, programme.redemption
    ladder = _ladder(programme)
    multipliers: dict[str | None, Ratio] = {None: ladder[0].multiplier if ladder else (1, 1)}
    multipliers |= {tier.code: tier.multiplier for tier in ladder}
    zone, per_point = ZoneInfo(header.time_zone), minor_per_point(header.point_value, header.currency)
    earning = earning or Earning()
    campaigns = [compile_campaign(one, zone, per_point) for one in earning.campaigns]
    expiry = compile_expiry(programme.expiry, zone)
    acts = {
        act.code: compile_act(
            act, earning.rounding.mode, header.point_value, header.currency, caps_of(earning.member_caps)
        )
        for act in earning.acts
    }
    return CompiledProgramme(
        code=header.code,
        version=version,
        name=header.name,
        currency=header.currency,
        accepts=frozenset(header.accepts),
        point_value=header.point_value,
        minor_per_point=per_point,
        zone=zone,
        card_prefix=header.card_prefix,
        closed=header.closed,
        backdating=None if header.backdating_days == "unlimited" else timedelta(days=header.backdating_days),
        book=compile_rules(
            earning, multipliers, campaigns, [compile_card(one) for one in earning.stamp_cards]
        ),
        limits=_limits(header.code, zone, earning, campaigns),
        guards=compile_guards(earning.guards),
        consumption=redemption.consumption if redemption is not None else "oldest_earned",
        minimum_points=redemption.minimum_points if redemption is not None else 1,
        step_points=redemption.step_points if redemption is not None else 1,
        redeeming=compile_redeeming(redemption),
        adjusting=compile_adjusting(programme.adjustments),
        on_spent=redemption.on_spent if redemption is not None else "block",
        refund_window_days=None if earning.refund_window_days == "unlimited" else earning.refund_window_days,
        lifecycle=programme.tiers.lifecycle if programme.tiers is not None else None,
        ladder=ladder,
        gift_cards=compile_gift_cards(programme.gift_cards, zone),
        acts=acts,
        referral=next((act for act in acts.values() if act.on == "referral"), None),
        expiry=expiry,
        _expires=expiry.expires,
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
            threshold=tier.entry.points.gte
            if tier.entry is not None and tier.entry.points is not None
            else 0,
        )
        for tier in programme.tiers.ladder
    )
