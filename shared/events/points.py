"""What redeem says: points credited, redeemed and expired. Points never come without their money."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from shared.events.envelope import EventData
from shared.money import Money, Worth


class Balance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    available: Worth
    held: Worth
    reserved: Worth


class Lot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Points earned together. `expires_at` null: never."""

    lot_id: UUID
    points: int
    money: Money
    expires_at: datetime | None = None


class TakenLot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Points taken from a lot."""

    lot_id: UUID
    points: int


class PointsCredited(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id."""

    TYPE: ClassVar[str] = "points.credited.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID
    kind: str
    wallet_id: UUID
    member_id: UUID
    programme: str
    bill_id: UUID | None
    effective_at: datetime
    posted_at: datetime
    credited: Worth
    lots: tuple[Lot, ...]
    balance: Balance


class PointsRedeemed(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id."""

    TYPE: ClassVar[str] = "points.redeemed.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID
    redemption_id: UUID
    kind: str
    wallet_id: UUID
    member_id: UUID | None
    programme: str
    merchant: str | None
    bill_ref: str | None
    effective_at: datetime
    posted_at: datetime
    redeemed: Worth
    lots: tuple[TakenLot, ...]
    balance: Balance


class PointsExpired(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. Lots that reached their expiry; `effective_at` is the last one's."""

    TYPE: ClassVar[str] = "points.expired.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID
    kind: str
    wallet_id: UUID
    member_id: UUID
    programme: str
    effective_at: datetime
    posted_at: datetime
    expired: Worth
    lots: tuple[TakenLot, ...]
    balance: Balance
