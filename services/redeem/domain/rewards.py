"""What points buy: a reward's terms, its price for a tier, and the benefit that is issued of it.

A decision is made of what it is given; it raises its refusal before anything has moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from services.redeem.domain.giftcards.acts import Draft
from shared.errors import AmountOutOfRange, CurrencyMismatch, FieldType, Refusal
from shared.money import Money, points_for
from shared.programme.compiled import CompiledProgramme
from shared.programme.days import day_of, end_of_day, period_start

Kind = Literal["discount", "voucher", "product", "experience", "gift_card"]
Period = Literal["ever", "day", "month", "year"]
Origin = Literal["redemption", "asked", "threshold"]
Counted = Literal["balance", "earned"]


class RewardUnknown(Refusal):
    code = "reward_unknown"


class RewardUnavailable(Refusal):
    code = "reward_unavailable"


class RewardSoldOut(Refusal):
    code = "reward_sold_out"


class RewardLimitReached(Refusal):
    code = "reward_limit_reached"


class GiftCardNotOffered(Refusal):
    code = "gift_card_not_offered"


class RewardNotReturnable(Refusal):
    code = "reward_not_returnable"


class BenefitUnknown(Refusal):
    code = "benefit_unknown"


class BenefitConsumed(Refusal):
    code = "benefit_consumed"


class BenefitExpired(Refusal):
    code = "benefit_expired"


class BenefitWithdrawn(Refusal):
    code = "benefit_withdrawn"


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """Exactly one of the two. Money takes the points that are worth it, rounded up."""

    points: int | None = None
    money: Money | None = None

    def points_of(self, terms: CompiledProgramme) -> int:
        """What it takes under these terms."""
        if self.points is not None:
            return self.points
        assert self.money is not None
        return points_for(self.money.amount_minor, terms.point_value, terms.currency)


class Window(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a reward can be had, by members of these tiers (None: of any). `until` is exclusive."""

    since: datetime | None = None
    until: datetime | None = None
    tiers: tuple[str, ...] | None = None

    def holds(self, now: datetime, tier: str | None) -> bool:
        """Whether a member of that tier can have it at that instant."""
        return (
            (self.since is None or self.since <= now)
            and (self.until is None or now < self.until)
            and (self.tiers is None or tier in self.tiers)
        )


class Limit(msgspec.Struct, frozen=True):
    """How many a member can have, ever or within a calendar period of the programme's time zone."""

    most: int
    per: Period


class Threshold(msgspec.Struct, frozen=True):
    """A reward issues itself, once to a member, when a wallet has so many points: available ones (`balance`), or `earned` in all,
    held ones left out and less what was taken back."""

    points: int
    of: Counted


class Reward(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version of a reward. Without windows it can be had at any time, by everybody."""

    kind: Kind
    name: dict[str, str]
    active: bool = True
    price: Price
    tier_prices: dict[str, Price] = {}
    unit_cost_minor: int = 0
    valid_days: int | None = None
    windows: tuple[Window, ...] = ()
    limit: Limit | None = None
    restock: bool = False
    """Whether what comes back unused is on stock again."""
    issues_at: Threshold | None = None
    loads: Money | None = None
    """A purchase issues a gift card that is worth this, and its benefit is the card: it has no code, cost or end of its own."""

    def price_for(self, terms: CompiledProgramme, tier: str | None) -> int:
        """In points."""
        return self.tier_prices.get(tier or "", self.price).points_of(terms)

    def open_at(self, now: datetime, tier: str | None) -> bool:
        """Whether a member of that tier can have it now, as far as stock and limits allow."""
        return self.active and (not self.windows or any(one.holds(now, tier) for one in self.windows))

    def expires_at(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """When a benefit that is issued now can't be used any more: at the end of its last day in the programme's zone."""
        if self.valid_days is None:
            return None
        return end_of_day(day_of(now, zone) + timedelta(days=self.valid_days), zone)

    def counted_since(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """From which instant on the limit counts; None where there is none to count."""
        if self.limit is None:
            return None
        if self.limit.per == "ever":
            return datetime.min.replace(tzinfo=UTC)
        return period_start(self.limit.per, now, zone)


class AsIssued(msgspec.Struct, frozen=True):
    """Of a version of a reward what counts for a benefit that was issued by it. `kind` is text: it may be a later release's."""

    kind: str
    name: dict[str, str]
    restock: bool = False
    loads: Money | None = None


def check(reward: Reward, terms: CompiledProgramme) -> None:
    """Refuses a reward that its programme could not sell: prices in another currency, tiers that are not on its ladder."""
    for where, price in (
        ("/price", reward.price),
        *((f"/tier_prices/{t}", p) for t, p in reward.tier_prices.items()),
    ):
        if price.money is not None and price.money.currency != terms.currency:
            raise CurrencyMismatch(
                f"The programme counts in {terms.currency}, not {price.money.currency}.",
                pointer=f"{where}/money/currency",
            )
    if reward.loads is not None:
        check_loads(terms, reward.loads)
    ladder = {tier.code for tier in terms.ladder}
    for k, window in enumerate(reward.windows):
        if strange := set(window.tiers or ()) - ladder:
            raise FieldType(f"The programme has no tier {min(strange)}.", pointer=f"/windows/{k}/tiers")
    if strange := reward.tier_prices.keys() - ladder:
        raise FieldType(f"The programme has no tier {min(strange)}.", pointer="/tier_prices")


def check_loads(terms: CompiledProgramme, loads: Money) -> None:
    """Refuses what no gift card of the programme is loaded with."""
    if terms.gift_cards is None:
        raise GiftCardNotOffered(f"The programme {terms.code} has no gift cards.", pointer="/loads")
    if loads.currency != terms.currency:
        raise CurrencyMismatch(
            f"The programme counts in {terms.currency}, not {loads.currency}.", pointer="/loads/currency"
        )
    if not terms.gift_cards.loads(loads.amount_minor):
        raise AmountOutOfRange(
            f"Gift cards are loaded with {terms.gift_cards.told()}.", pointer="/loads/amount_minor"
        )


class PutReward(msgspec.Struct, frozen=True, kw_only=True):
    """The reward is so from now on. `stock`: how many were ever supplied; None: as many as are asked."""

    programme: str
    code: str
    reward: Reward
    stock: int | None


class Code(msgspec.Struct, frozen=True):
    """A fresh redemption code: what is kept of it, and itself sealed, for the answer that is kept under the idempotency key."""

    hash: bytes
    sealed: str


class RedeemReward(msgspec.Struct, frozen=True, kw_only=True):
    """Spend points on a reward, now, or with `code` set one aside. The fields that it shares with `Redeem` mean the same."""

    programme: str
    member_id: UUID | None
    identity_kind: str | None
    identity_hash: bytes | None
    reward: str
    merchant: str
    terminal: str | None
    cashier: str | None
    channel: str | None
    bill_ref: str | None
    patient: bool = False
    code: Code | None = None
    draft: Draft | None = None
    """Of the gift card that is issued, where the reward is one."""


class UseBenefit(msgspec.Struct, frozen=True, kw_only=True):
    """Consume a benefit at a merchant, by its code's hash."""

    code_hash: bytes
    merchant: str
    terminal: str | None
    cashier: str | None
    bill_ref: str | None


class Stock(msgspec.Struct):
    """A reward as it is, and its stock under its lock while a batch takes from it."""

    programme: str
    code: str
    version: int
    reward: Reward
    supplied: int | None
    issued: int
    held: int = 0
    taken: int = 0
    """By this batch: issued, or set aside."""

    @property
    def left(self) -> int | None:
        """None: as many as are asked."""
        return None if self.supplied is None else self.supplied - self.issued - self.held - self.taken

    def give(self) -> None:
        """Refuses what can't be given away now. Its windows and limits say who may buy it; what was promised is given."""
        if not self.reward.active:
            raise RewardUnavailable(f"{self.code} is not active.")
        if self.reward.loads is not None:
            raise RewardUnavailable(
                f"{self.code} is a gift card: it is bought, for nobody else is told its PIN."
            )
        if self.left is not None and self.left <= 0:
            raise RewardSoldOut(f"None is left of {self.code}.")

    def offer(self, *, tier: str | None, now: datetime, had: int) -> None:
        """Refuses what a member of that tier, who has had so many within the limit's period, can't have now."""
        if not self.reward.open_at(now, tier):
            raise RewardUnavailable(
                f"{self.code} can't be had now{f' in the tier {tier}' if tier else ''}. GET /v1/rewards/{self.code} says when.",
                pointer="/reward",
            )
        if self.left is not None and self.left <= 0:
            raise RewardSoldOut(f"None is left of {self.code}.", pointer="/reward")
        limit = self.reward.limit
        if limit is not None and had >= limit.most:
            period = "" if limit.per == "ever" else f" a {limit.per}"
            raise RewardLimitReached(
                f"A member can have {limit.most} of {self.code}{period}.", pointer="/reward"
            )


class Benefit(msgspec.Struct, frozen=True):
    """A benefit as it is kept. `redemption_id`: what bought it; None: nobody did, and it took no points."""

    benefit_id: UUID
    redemption_id: UUID | None
    wallet_id: UUID
    member_id: UUID
    programme: str
    reward: str
    version: int
    tier: str | None
    points: int
    unit_cost_minor: int
    code_hash: bytes
    issued_at: datetime
    expires_at: datetime | None
    origin: Origin = "redemption"
    asked_by: UUID | None = None
    """The request of earn that it answers."""
    programme_version: int | None = None
    """That it was given by; None: it was bought."""


def standing_of(told: tuple[str, datetime | None] | None, ladder: Sequence[str], now: datetime) -> str | None:
    """The tier that counts: what tiers told last, while it lasts and is on the ladder; else the first of it; None without one."""
    if told is not None and told[0] in ladder and (told[1] is None or now < told[1]):
        return told[0]
    return ladder[0] if ladder else None


def objection(
    *,
    expires_at: datetime | None,
    consumed_at: datetime | None,
    withdrawn_at: datetime | None,
    lapsed_at: datetime | None,
    now: datetime,
) -> Refusal | None:
    """Why a benefit can't be used at that instant; None if it can. What was written off by another process, whose clock is
    ahead, is over."""
    if withdrawn_at is not None:
        return BenefitWithdrawn(
            f"The benefit was taken back at {withdrawn_at:%Y-%m-%dT%H:%M:%SZ}.", pointer="/code"
        )
    if consumed_at is not None:
        return BenefitConsumed(f"The benefit was used at {consumed_at:%Y-%m-%dT%H:%M:%SZ}.", pointer="/code")
    if expires_at is not None and (lapsed_at is not None or expires_at <= now):
        return BenefitExpired(f"The benefit expired at {expires_at:%Y-%m-%dT%H:%M:%SZ}.", pointer="/code")
    return None
