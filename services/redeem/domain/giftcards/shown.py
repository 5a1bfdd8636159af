"""Gift cards as they are answered: ready for JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.redeem.domain.giftcards.card import status_of
from services.redeem.domain.giftcards.ledger import Card, Line
from shared.money import Money


def card_out(card: Card, currency: str, now: datetime) -> dict[str, Any]:
    """A card as of that instant; what has expired and was not swept yet is told as expired."""
    lapsed = card.balance if card.expired_by(now) else 0
    locked = card.locked_until is not None and card.locked_until > now
    return {
        "card_id": card.card_id,
        "serial": card.serial,
        "programme": card.programme,
        "status": status_of(card, now),
        "blocked": card.blocked,
        "locked_until": card.locked_until if locked else None,
        "amount": Money(card.amount_minor, currency),
        "balance": Money(card.balance - lapsed, currency),
        "used": Money(card.used, currency),
        "expired": Money(card.expired + lapsed, currency),
        "activated_at": card.activated_at,
        "expires_at": card.expires_at,
    }


def use_out(card: Card, line: Line, asked_minor: int, currency: str, now: datetime) -> dict[str, Any]:
    """What a use paid, and what it left to pay."""
    return {
        "use_id": line.posting_id,
        "card_id": card.card_id,
        "status": status_of(card, now),
        "effective_at": line.effective_at,
        "asked": Money(asked_minor, currency),
        "applied": Money(line.amount_minor, currency),
        "balance_after": Money(line.balance_after, currency),
        "change": Money(asked_minor - line.amount_minor, currency),
    }


def refund_out(
    card: Card, line: Line, refund_ref: str, in_all: int, currency: str, now: datetime
) -> dict[str, Any]:
    """What came back to the card, now and in all of this use."""
    return {
        "refund_id": line.posting_id,
        "use_id": line.source_id,
        "card_id": card.card_id,
        "refund_ref": refund_ref,
        "status": status_of(card, now),
        "effective_at": line.effective_at,
        "applied": Money(line.amount_minor, currency),
        "refunded_in_all": Money(in_all, currency),
        "balance_after": Money(line.balance_after, currency),
    }
