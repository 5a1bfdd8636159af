"""Events of the bank: postings, what it answered to requests, seals."""

from __future__ import annotations

from datetime import datetime

import msgspec

from pointbank.verify.events.envelope import Worth, binary


class Balance(msgspec.Struct, frozen=True, gc=False):
    available: Worth
    held: Worth
    reserved: Worth


class Moved(msgspec.Struct, frozen=True, gc=False):
    lot_id: str
    points: int


class Posted(msgspec.Struct, frozen=True, gc=False):
    """points.credited, .redeemed, .expired, .repaid, .transferred, .adjusted, .reinstated, .reserved and .voided: what a posting
    moved, whatever it is called there."""

    posting_id: str
    kind: str
    wallet_id: str
    member_id: str | None
    programme: str
    effective_at: datetime
    posted_at: datetime
    lots: tuple[Moved, ...]
    balance: Balance
    credited: Worth | None = None
    redeemed: Worth | None = None
    expired: Worth | None = None
    reserved: Worth | None = None
    voided: Worth | None = None
    expires_at: datetime | None = None
    repaid: Worth | None = None
    transferred: Worth | None = None
    adjusted: Worth | None = None
    reinstated: Worth | None = None
    debt: Worth | None = None
    direction: str | None = None
    transfer_id: str | None = None
    redemption_id: str | None = None
    merchant: str | None = None
    bill_ref: str | None = None
    resolved_wallet: str | None = None
    programme_version: int | None = None


class Returned(msgspec.Struct, frozen=True, gc=False):
    """points.returned: `posting_id` is null where nothing moved, `return_id` where nothing came back at all."""

    posting_id: str | None
    request_id: str | None
    redemption_id: str | None
    wallet_id: str | None
    member_id: str | None
    programme: str | None
    effective_at: datetime
    posted_at: datetime | None
    returned: Worth | None
    lots: tuple[Moved, ...]
    balance: Balance | None
    return_id: str | None = None
    refund_id: str | None = None
    kind: str = "return"
    late: bool = False


class Released(msgspec.Struct, frozen=True, gc=False):
    posting_id: str | None
    request_id: str
    accrual_id: str
    wallet_id: str
    member_id: str
    programme: str
    effective_at: datetime
    posted_at: datetime | None
    released: Worth
    released_through: int
    lots: tuple[Moved, ...]
    balance: Balance
    resolved_wallet: str | None = None


class Reversed(msgspec.Struct, frozen=True, gc=False):
    posting_id: str | None
    request_id: str
    accrual_id: str
    wallet_id: str
    member_id: str
    programme: str
    effective_at: datetime
    posted_at: datetime | None
    reversed: Worth
    hold_cancelled: Worth
    owed: Worth
    shortfall: Worth
    reversed_through: int
    lots: tuple[Moved, ...]
    balance: Balance
    lapsed: Worth | None = None
    refund_id: str | None = None
    late: bool = False
    resolved_wallet: str | None = None


class ReversalRefused(msgspec.Struct, frozen=True, gc=False):
    request_id: str
    accrual_id: str
    wallet_id: str
    shortfall: Worth
    programme: str = ""
    code: str = ""
    refund_id: str | None = None
    resolved_wallet: str | None = None


class PointsExpiring(msgspec.Struct, frozen=True, gc=False):
    wallet_id: str
    member_id: str
    programme: str
    expires_at: datetime
    days: int
    expiring: Worth


class PointsMerged(msgspec.Struct, frozen=True, gc=False):
    posting_id: str | None
    merge_id: str
    direction: str
    wallet_id: str
    other_wallet_id: str
    member_id: str
    programme: str
    effective_at: datetime
    posted_at: datetime | None
    merged: Worth
    lots: tuple[Moved, ...]
    balance: Balance


class WalletBlocked(msgspec.Struct, frozen=True, gc=False):
    """wallet.blocked and wallet.unblocked."""

    wallet_id: str
    member_id: str
    programme: str
    reason: str


class LedgerSealed(msgspec.Struct, frozen=True, gc=False):
    no: int
    sealed_at: datetime
    leaves: int
    root: str
    previous: str
    hash: str
    public_key: str
    signature: str


def home_of(event: Posted | Released | Reversed | ReversalRefused) -> bytes:
    """The wallet that an event is about: the one that it was decided for, or what that was merged into."""
    return binary(event.resolved_wallet or event.wallet_id)


SAYS: dict[str, type] = {
    "points.credited.v1": Posted,
    "points.redeemed.v1": Posted,
    "points.expired.v1": Posted,
    "points.reserved.v1": Posted,
    "points.voided.v1": Posted,
    "points.returned.v1": Returned,
    "points.repaid.v1": Posted,
    "points.transferred.v1": Posted,
    "points.adjusted.v1": Posted,
    "points.reinstated.v1": Posted,
    "points.released.v1": Released,
    "points.reversed.v1": Reversed,
    "points.reversal_refused.v1": ReversalRefused,
    "points.expiring.v1": PointsExpiring,
    "ledger.sealed.v1": LedgerSealed,
    "points.merged.v1": PointsMerged,
    "wallet.blocked.v1": WalletBlocked,
    "wallet.unblocked.v1": WalletBlocked,
}
"""CloudEvents type -> what is read of its data."""
