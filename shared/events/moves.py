"""What redeem says of the points that nobody spent: debt repaid, given to another, put right, brought back, soon to expire."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from shared.events.envelope import EventData
from shared.events.points import Balance, Lot, TakenLot
from shared.money import Worth


class PointsRepaid(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. Points that just came went to what was owed; `debt` is what is owed still."""

    TYPE: ClassVar[str] = "points.repaid.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID
    kind: str
    wallet_id: UUID
    member_id: UUID
    programme: str
    effective_at: datetime
    posted_at: datetime
    repaid: Worth
    debt: Worth
    lots: tuple[TakenLot, ...]
    balance: Balance


class PointsTransferred(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. One for each side of a transfer; the receiver's lots keep the expiries of the giver's."""

    TYPE: ClassVar[str] = "points.transferred.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID
    transfer_id: UUID
    kind: str
    direction: Literal["given", "received"]
    wallet_id: UUID
    other_wallet_id: UUID
    member_id: UUID
    programme: str
    effective_at: datetime
    posted_at: datetime
    transferred: Worth
    lots: tuple[Lot, ...]
    balance: Balance


class PointsAdjusted(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. A person gave points, or took some; `reason` is a code of the tenant's."""

    TYPE: ClassVar[str] = "points.adjusted.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID
    adjustment_id: UUID
    kind: str
    direction: Literal["given", "taken"]
    reason: str
    wallet_id: UUID
    member_id: UUID
    programme: str
    effective_at: datetime
    posted_at: datetime
    adjusted: Worth
    lots: tuple[Lot, ...]
    balance: Balance


class PointsReinstated(EventData, frozen=True, kw_only=True, omit_defaults=True):
    """Subject: the wallet_id. Expired points that a person brought back, with their new expiry. `redemption_id`: this had spent
    them while they lived, and was told when they had expired (`reason` spent_offline); it takes them at once."""

    TYPE: ClassVar[str] = "points.reinstated.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID
    kind: str
    reason: str
    wallet_id: UUID
    member_id: UUID
    programme: str
    effective_at: datetime
    posted_at: datetime
    reinstated: Worth
    lots: tuple[Lot, ...]
    balance: Balance
    redemption_id: UUID | None = None


class PointsMerged(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. One for each side of a merge: all that the one wallet had is the other's, in the same buckets and the
    same lots. `merged`: what was usable, held or set aside; `debt`: what was owed; no posting where there was nothing."""

    TYPE: ClassVar[str] = "points.merged.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID | None
    merge_id: UUID
    kind: str
    direction: Literal["given", "received"]
    wallet_id: UUID
    other_wallet_id: UUID
    member_id: UUID
    programme: str
    effective_at: datetime
    posted_at: datetime | None
    merged: Worth
    debt: Worth
    lots: tuple[TakenLot, ...]
    balance: Balance


class PointsExpiring(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. Told once for a wallet, an expiry and a notice of `days`: what will expire then, as it stands."""

    TYPE: ClassVar[str] = "points.expiring.v1"
    SOURCE: ClassVar[str] = "/redeem"
    wallet_id: UUID
    member_id: UUID
    programme: str
    expires_at: datetime
    days: int
    expiring: Worth
    balance: Balance
