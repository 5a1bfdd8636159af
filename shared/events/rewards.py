"""What redeem says of benefits. The code that consumes one stands in no event."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.events.envelope import EventData
from shared.money import Money, Worth


class RewardIssued(EventData, frozen=True, kw_only=True):
    """Subject: the benefit_id. Points bought a reward; `expires_at` null: it can be used at any time."""

    TYPE: ClassVar[str] = "reward.issued.v1"
    SOURCE: ClassVar[str] = "/redeem"
    benefit_id: UUID
    redemption_id: UUID
    posting_id: UUID
    wallet_id: UUID
    member_id: UUID
    programme: str
    reward: str
    version: int
    kind: str
    name: dict[str, str]
    tier: str | None
    merchant: str
    redeemed: Worth
    unit_cost: Money
    issued_at: datetime
    expires_at: datetime | None


class BenefitConsumed(EventData, frozen=True, kw_only=True):
    """Subject: the benefit_id. A benefit was used, for good; what that costs is `unit_cost`."""

    TYPE: ClassVar[str] = "benefit.consumed.v1"
    SOURCE: ClassVar[str] = "/redeem"
    benefit_id: UUID
    wallet_id: UUID
    member_id: UUID
    programme: str
    reward: str
    version: int
    kind: str
    merchant: str
    terminal: str | None
    bill_ref: str | None
    unit_cost: Money
    consumed_at: datetime
