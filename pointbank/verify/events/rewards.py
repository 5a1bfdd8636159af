"""Events of the bank about rewards and benefits."""

from __future__ import annotations

from datetime import datetime

import msgspec

from pointbank.verify.events.envelope import Money, Worth


class RewardIssued(msgspec.Struct, frozen=True, gc=False):
    benefit_id: str
    redemption_id: str
    wallet_id: str
    member_id: str
    programme: str
    reward: str
    version: int
    tier: str | None
    redeemed: Worth
    unit_cost: Money
    issued_at: datetime
    expires_at: datetime | None


class BenefitConsumed(msgspec.Struct, frozen=True, gc=False):
    benefit_id: str
    wallet_id: str
    programme: str
    reward: str
    version: int
    merchant: str
    terminal: str | None
    bill_ref: str | None
    unit_cost: Money
    consumed_at: datetime


class BenefitIssued(msgspec.Struct, frozen=True, gc=False):
    benefit_id: str
    wallet_id: str
    member_id: str
    programme: str
    reward: str
    version: int
    origin: str
    effect_id: str | None
    unit_cost: Money
    issued_at: datetime
    expires_at: datetime | None


class BenefitEnded(msgspec.Struct, frozen=True, gc=False):
    """benefit.withdrawn and benefit.expired."""

    benefit_id: str
    wallet_id: str
    programme: str
    reward: str
    version: int
    unit_cost: Money
    withdrawn_at: datetime | None = None
    restocked: bool | None = None
    expires_at: datetime | None = None


class BenefitAnswered(msgspec.Struct, frozen=True, gc=False):
    effect_id: str
    outcome: str
    benefit_id: str | None
    code: str | None


SAYS: dict[str, type] = {
    "reward.issued.v1": RewardIssued,
    "benefit.consumed.v1": BenefitConsumed,
    "benefit.issued.v1": BenefitIssued,
    "benefit.withdrawn.v1": BenefitEnded,
    "benefit.expired.v1": BenefitEnded,
    "benefit.answered.v1": BenefitAnswered,
}
"""CloudEvents type -> what is read of its data."""
