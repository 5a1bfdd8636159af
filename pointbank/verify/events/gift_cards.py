"""Events of the bank about gift cards."""

from __future__ import annotations

from datetime import datetime

import msgspec

from pointbank.verify.events.envelope import Money


class GiftCardMoved(msgspec.Struct, frozen=True, gc=False):
    posting_id: str
    kind: str
    card_id: str
    programme: str
    moved: Money
    balance: Money
    effective_at: datetime
    posted_at: datetime
    use_id: str | None = None
    merchant: str | None = None
    bill_ref: str | None = None


class GiftCardChanged(msgspec.Struct, frozen=True, gc=False):
    card_id: str
    programme: str
    amount: Money


SAYS: dict[str, type] = {
    "gift_card.activated.v1": GiftCardMoved,
    "gift_card.reloaded.v1": GiftCardMoved,
    "gift_card.used.v1": GiftCardMoved,
    "gift_card.refunded.v1": GiftCardMoved,
    "gift_card.expired.v1": GiftCardMoved,
    "gift_card.cancelled.v1": GiftCardMoved,
    "gift_card.issued.v1": GiftCardChanged,
    "gift_card.voided.v1": GiftCardChanged,
    "gift_card.blocked.v1": GiftCardChanged,
    "gift_card.unblocked.v1": GiftCardChanged,
    "gift_card.locked.v1": GiftCardChanged,
}
"""CloudEvents type -> what is read of its data."""
