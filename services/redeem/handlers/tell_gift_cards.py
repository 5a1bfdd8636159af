"""What is told and noted of gift cards. Neither a PIN nor its hash stands in any of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.giftcards.acts import Place
from services.redeem.domain.giftcards.card import status_of
from services.redeem.domain.giftcards.ledger import Card, Line
from shared.events import (
    EventData,
    GiftCardActivated,
    GiftCardBlocked,
    GiftCardCancelled,
    GiftCardExpired,
    GiftCardIssued,
    GiftCardLocked,
    GiftCardRefunded,
    GiftCardReloaded,
    GiftCardUnblocked,
    GiftCardUsed,
    GiftCardVoided,
)
from shared.messaging import Item, Tx
from shared.money import Money

_MOVED: dict[str, Any] = {
    "activate": GiftCardActivated,
    "reload": GiftCardReloaded,
    "use": GiftCardUsed,
    "refund": GiftCardRefunded,
    "expire": GiftCardExpired,
    "cancel": GiftCardCancelled,
}
_CHANGED: dict[str, Any] = {
    "issue": GiftCardIssued,
    "void": GiftCardVoided,
    "block": GiftCardBlocked,
    "unblock": GiftCardUnblocked,
    "lock": GiftCardLocked,
}
_SERIAL_END = 4


def tell_moved(
    tx: Tx,
    item: Item[Any],
    card: Card,
    line: Line,
    currency: str,
    *,
    now: datetime,
    place: Place | None = None,
) -> None:
    """Tells of a line that was just posted, and notes it."""
    event = _MOVED[line.kind](
        posting_id=line.posting_id,
        kind=line.kind,
        card_id=card.card_id,
        programme=card.programme,
        serial_end=card.serial[-_SERIAL_END:],
        status=status_of(card, now),
        moved=Money(line.amount_minor, currency),
        balance=Money(line.balance_after, currency),
        effective_at=line.effective_at,
        posted_at=line.posted_at,
        expires_at=card.expires_at,
        use_id=line.source_id,
        merchant=place.merchant if place is not None else None,
        terminal=place.terminal if place is not None else None,
        bill_ref=place.bill_ref if place is not None else None,
    )
    _emit(tx, item, card.card_id, event, card.next_event())
    after = {"posting_id": line.posting_id, "amount_minor": line.amount_minor, "balance": line.balance_after}
    if place is not None:
        after |= {"merchant": place.merchant, "cashier": place.cashier, "bill_ref": place.bill_ref}
    _note(tx, item, card.card_id, line.kind, after)


def tell_issued(tx: Tx, item: Item[Any], card: Card, currency: str, now: datetime) -> None:
    """Tells of a card that was just issued: the first event about it."""
    _emit(tx, item, card.card_id, _changed("issue", card, currency, now, None), 1)
    # The end of the serial alone: the audit forgets nothing.
    serial_end = card.serial[-_SERIAL_END:]
    after = {"programme": card.programme, "serial_end": serial_end, "amount_minor": card.amount_minor}
    _note(tx, item, card.card_id, "issue", after)


def tell_changed(
    tx: Tx, item: Item[Any], card: Card, act: str, currency: str, *, now: datetime, reason: str | None = None
) -> None:
    """Tells of a card that was voided, blocked, unblocked or locked, and notes it."""
    _emit(tx, item, card.card_id, _changed(act, card, currency, now, reason), card.next_event())
    _note(tx, item, card.card_id, act, {"reason": reason, "locked_until": card.locked_until})


def note_pin(tx: Tx, item: Item[Any], card: Card, what: str) -> None:
    """Notes that a wrong PIN was given, or that the card got another one."""
    _note(tx, item, card.card_id, what, {"wrong_pins": card.wrong_pins})


def _changed(act: str, card: Card, currency: str, now: datetime, reason: str | None) -> EventData:
    event: EventData = _CHANGED[act](
        card_id=card.card_id,
        programme=card.programme,
        serial_end=card.serial[-_SERIAL_END:],
        status=status_of(card, now),
        amount=Money(card.amount_minor, currency),
        changed_at=now,
        reason=reason,
        locked_until=card.locked_until,
    )
    return event


def _emit(tx: Tx, item: Item[Any], card_id: UUID, event: EventData, sequence: int) -> None:
    tx.emit(event, subject=str(card_id), sequence=sequence, item=item)


def _note(tx: Tx, item: Item[Any], card_id: UUID, what: str, after: object) -> None:
    tx.audit(f"gift_card.{what}", f"gift_card/{card_id}", item=item, after=after)
