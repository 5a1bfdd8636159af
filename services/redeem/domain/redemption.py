"""What is asked for, and answered, when points are spent at a merchant."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from shared.events import Balance
from shared.money import Money, Worth


class Redeem(msgspec.Struct, frozen=True, kw_only=True):
    """Spend points at a merchant, now. Exactly one of `points` and `money`; the member by id or by another identity's hash.

    `patient`: an unknown party may be told of in a moment, so the refusal is not kept, and the caller asks again.
    """

    programme: str
    member_id: UUID | None
    identity_kind: str | None
    identity_hash: bytes | None
    points: int | None
    money: Money | None
    merchant: str
    terminal: str | None
    cashier: str | None
    channel: str | None
    bill_ref: str | None
    patient: bool = False


class RedemptionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a redemption. `redeemed.money` is what the points paid for: the amount asked, if one was."""

    redemption_id: UUID
    status: str
    programme: str
    wallet_id: UUID
    effective_at: datetime
    redeemed: Worth
    balance: Balance
