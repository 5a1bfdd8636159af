"""What redeem says: each move of points, and its answers to what earn asks. Points never come without their money."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from shared.events.envelope import EventData
from shared.money import Money, Worth


class Balance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the ledger holds: in an event, after its posting and with what has expired unswept; in an answer, what may be spent."""

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


class PointsCredited(EventData, frozen=True, kw_only=True, omit_defaults=True):
    """Subject: the wallet_id. `act_id`: what earned them, where that was no bill. `resolved_wallet`: where `wallet_id` was merged
    into another, the one that has the points; it is the subject then."""

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
    act_id: UUID | None = None
    resolved_wallet: UUID | None = None


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


class OfflineRedeemed(PointsRedeemed, frozen=True, kw_only=True):
    """As PointsRedeemed, of points that a till let a member spend while it could not ask. `overdrawn`: the part that was more than
    the balance had, and is owed now; `lots` are of the rest."""

    overdrawn: Worth
    offline: bool = True


class PointsReserved(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. Points set aside for a redemption that is captured or voided by `expires_at`."""

    TYPE: ClassVar[str] = "points.reserved.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID
    redemption_id: UUID
    kind: str
    wallet_id: UUID
    member_id: UUID
    programme: str
    merchant: str
    bill_ref: str | None
    effective_at: datetime
    posted_at: datetime
    expires_at: datetime
    reserved: Worth
    lots: tuple[TakenLot, ...]
    balance: Balance


class PointsVoided(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. Points set aside that went back to their lots. `reason`: `voided` by who asked, `expired` at the
    end of the authorisation, `captured`: what a partial capture left over."""

    TYPE: ClassVar[str] = "points.voided.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID
    redemption_id: UUID
    kind: str
    wallet_id: UUID
    member_id: UUID
    programme: str
    merchant: str
    bill_ref: str | None
    effective_at: datetime
    posted_at: datetime
    reason: str
    voided: Worth
    lots: tuple[TakenLot, ...]
    balance: Balance


class PointsExpired(EventData, frozen=True, kw_only=True, omit_defaults=True):
    """Subject: the wallet_id. Lots that reached their expiry; `effective_at` is the last one's. `programme_version`: where some of
    them ended by their member's silence, the version of the programme that says after how long."""

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
    programme_version: int | None = None


class PointsReleased(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. Answers a ReleaseRequested; `released` may be 0, then nothing was posted and `posting_id` is
    null. `released_through`: all that was ever released of the accrual."""

    TYPE: ClassVar[str] = "points.released.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID | None
    request_id: UUID
    accrual_id: UUID
    wallet_id: UUID
    member_id: UUID
    programme: str
    effective_at: datetime
    posted_at: datetime | None
    released: Worth
    released_through: int
    lots: tuple[TakenLot, ...]
    balance: Balance
    resolved_wallet: UUID | UnsetType = UNSET


class PointsReversed(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. Answers a ReversalRequested: what it took from the available (`reversed`) and from the held
    (`hold_cancelled`), what became debt (`owed`), and what was spent and stays so (`shortfall`). All may be 0, then nothing
    was posted. `lapsed` had expired before it could be taken back: nobody has it, nobody owes it. `reversed_through`: all that
    was ever taken back of the accrual, debt included. `earned_at`: when the accrual was earned, in whose year these points no
    longer qualify. `late`: the request was answered before, and was short; these points came back since, and were taken."""

    TYPE: ClassVar[str] = "points.reversed.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID | None
    request_id: UUID
    refund_id: UUID | None
    bill_id: UUID | None
    accrual_id: UUID
    wallet_id: UUID
    member_id: UUID
    programme: str
    effective_at: datetime
    posted_at: datetime | None
    reversed: Worth
    hold_cancelled: Worth
    owed: Worth
    shortfall: Worth
    reversed_through: int
    lots: tuple[TakenLot, ...]
    balance: Balance
    lapsed: Worth | None = None
    earned_at: datetime | None = None
    late: bool = False
    resolved_wallet: UUID | UnsetType = UNSET


class ReversalRefused(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id. A ReversalRequested under `block` met points that were spent: nothing moved. `shortfall` is
    what was missing."""

    TYPE: ClassVar[str] = "points.reversal_refused.v1"
    SOURCE: ClassVar[str] = "/redeem"
    request_id: UUID
    refund_id: UUID | None
    bill_id: UUID | None
    accrual_id: UUID
    wallet_id: UUID
    member_id: UUID
    programme: str
    code: str
    detail: str
    shortfall: Worth
    resolved_wallet: UUID | UnsetType = UNSET


class PointsReturned(EventData, frozen=True, kw_only=True):
    """Subject: the wallet_id, or the bill_id of a request that found no redemption. Points of a redemption that came back,
    asked over HTTP (`request_id` null) or by a refund; `returned` may be 0, then nothing was posted. A request that found
    several redemptions is answered by one event for each; `parts` says how many. `lots` are those that got the points. `late`:
    the request was answered before, and this redemption was captured, or told of, since."""

    TYPE: ClassVar[str] = "points.returned.v1"
    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID | None
    request_id: UUID | None
    refund_id: UUID | None
    redemption_id: UUID | None
    wallet_id: UUID | None
    member_id: UUID | None
    programme: str | None
    effective_at: datetime
    posted_at: datetime | None
    returned: Worth | None
    lots: tuple[TakenLot, ...]
    balance: Balance | None
    return_id: UUID | None = None
    kind: str = "return"
    parts: int = 1
    late: bool = False
