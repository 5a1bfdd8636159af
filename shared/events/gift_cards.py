"""What redeem says of gift cards. No PIN, and of the serial its end alone: whoever hears of a card can't present it."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.events.envelope import EventData
from shared.money import Money


class GiftCardChanged(EventData, frozen=True, kw_only=True):
    """Subject: the card_id. What became of a card without money moving; each type below says what. `reason` is a person's."""

    SOURCE: ClassVar[str] = "/redeem"
    card_id: UUID
    programme: str
    serial_end: str
    status: str
    amount: Money
    changed_at: datetime
    reason: str | None = None
    locked_until: datetime | None = None


class GiftCardIssued(GiftCardChanged, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "gift_card.issued.v1"


class GiftCardVoided(GiftCardChanged, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "gift_card.voided.v1"


class GiftCardBlocked(GiftCardChanged, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "gift_card.blocked.v1"


class GiftCardUnblocked(GiftCardChanged, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "gift_card.unblocked.v1"


class GiftCardLocked(GiftCardChanged, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "gift_card.locked.v1"


class GiftCardMoved(EventData, frozen=True, kw_only=True):
    """Subject: the card_id. Money moved by one line of the card's ledger; `balance` is what the card holds after it."""

    SOURCE: ClassVar[str] = "/redeem"
    posting_id: UUID
    kind: str
    card_id: UUID
    programme: str
    serial_end: str
    status: str
    moved: Money
    balance: Money
    effective_at: datetime
    posted_at: datetime
    expires_at: datetime | None
    use_id: UUID | None = None
    merchant: str | None = None
    terminal: str | None = None
    bill_ref: str | None = None


class GiftCardActivated(GiftCardMoved, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "gift_card.activated.v1"


class GiftCardReloaded(GiftCardMoved, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "gift_card.reloaded.v1"


class GiftCardUsed(GiftCardMoved, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "gift_card.used.v1"


class GiftCardRefunded(GiftCardMoved, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "gift_card.refunded.v1"


class GiftCardCancelled(GiftCardMoved, frozen=True, kw_only=True):
    """What bought it was returned: `moved` went back to where its activation took it from."""

    TYPE: ClassVar[str] = "gift_card.cancelled.v1"


class GiftCardExpired(GiftCardMoved, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "gift_card.expired.v1"
