"""What redeem says of benefits. The code that consumes one stands in no event."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.events.envelope import EventData
from shared.events.giving import BenefitSource
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


class BenefitIssued(EventData, frozen=True, kw_only=True):
    """Subject: the benefit_id. A benefit that nobody bought. `origin`: `asked` by earn (`source` says for what), or `threshold`:
    the wallet reached the points at which its reward issues itself. `unit_cost` is owed until it is used, expired or withdrawn."""

    TYPE: ClassVar[str] = "benefit.issued.v1"
    SOURCE: ClassVar[str] = "/redeem"
    benefit_id: UUID
    wallet_id: UUID
    member_id: UUID
    programme: str
    reward: str
    version: int
    kind: str
    name: dict[str, str]
    origin: str
    effect_id: UUID | None
    source: BenefitSource | None
    unit_cost: Money
    issued_at: datetime
    expires_at: datetime | None


class BenefitEnded(EventData, frozen=True, kw_only=True):
    """What is told of a benefit that will never be used."""

    benefit_id: UUID
    wallet_id: UUID
    member_id: UUID
    programme: str
    reward: str
    version: int
    kind: str
    unit_cost: Money


class BenefitWithdrawn(BenefitEnded, frozen=True, kw_only=True):
    """Subject: the benefit_id. It was taken back unused: what brought it was refunded, or its purchase was returned.
    `restocked`: it is on stock again."""

    TYPE: ClassVar[str] = "benefit.withdrawn.v1"
    SOURCE: ClassVar[str] = "/redeem"
    withdrawn_at: datetime
    restocked: bool


class BenefitExpired(BenefitEnded, frozen=True, kw_only=True):
    """Subject: the benefit_id. It was not used by `expires_at`: its cost is owed no more."""

    TYPE: ClassVar[str] = "benefit.expired.v1"
    SOURCE: ClassVar[str] = "/redeem"
    expires_at: datetime


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
