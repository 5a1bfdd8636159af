"""A gift card, said as simply as it can be: money that is loaded, paid with and given back, behind a PIN. Amounts are minor units.

It shares no code with the service.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.support.models.replies import Reply, Said, refuse

RIYADH = timedelta(hours=3)


def sar(minor: int) -> Said:
    return {"amount_minor": minor, "currency": "SAR"}


@dataclass(frozen=True)
class CardRules:
    """What the programme's document says: cards of one of `amounts`, good for a month or for ever."""

    prefix: str
    amounts: tuple[int, ...]
    a_month: bool
    attempts: int
    lock: timedelta
    refundable: bool
    reloadable: bool

    def section(self) -> Said:
        """As it stands in the document."""
        return {
            "serial_prefix": self.prefix,
            "denominations": list(self.amounts),
            "valid_months": 1 if self.a_month else "unlimited",
            "pin_attempts": self.attempts,
            "lock_minutes": int(self.lock.total_seconds()) // 60,
            "refundable": self.refundable,
            "reloadable": self.reloadable,
        }

    def ends(self, now: datetime) -> datetime | None:
        """With the day of the next month that has the same number, or with the month."""
        if not self.a_month:
            return None
        local = (now + RIYADH).replace(hour=0, minute=0, second=0, microsecond=0)
        first = (local.replace(day=28) + timedelta(days=7)).replace(day=1)
        days = calendar.monthrange(first.year, first.month)[1]
        return first.replace(day=min(local.day, days)) + timedelta(days=1) - RIYADH


@dataclass(eq=False)
class ModelUse:
    card: ModelCard
    applied: int
    refunded: int = 0


@dataclass(eq=False)
class ModelCard:
    amount: int
    status: str = "issued"
    blocked: bool = False
    wrong: int = 0
    locked_until: datetime | None = None
    activated_at: datetime | None = None
    expires_at: datetime | None = None
    balance: int = 0
    used: int = 0
    expired: int = 0
    lines: list[tuple[str, int, int]] = field(default_factory=list)
    """Every move there was: its kind, how much, and the balance after it."""

    def gone(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def state(self, now: datetime) -> str:
        if self.status != "active":
            return self.status
        if self.gone(now):
            return "expired"
        if not self.balance:
            return "used"
        return "partially_used" if self.used else "active"

    def shown(self, now: datetime) -> Said:
        lapsed = self.balance if self.gone(now) else 0
        locked = self.locked_until is not None and self.locked_until > now
        return {
            "status": self.state(now),
            "blocked": self.blocked,
            "locked_until": self.locked_until if locked else None,
            "amount": sar(self.amount),
            "balance": sar(self.balance - lapsed),
            "used": sar(self.used),
            "expired": sar(self.expired + lapsed),
            "activated_at": self.activated_at,
            "expires_at": self.expires_at,
        }

    def move(self, kind: str, minor: int) -> None:
        self.balance += -minor if kind in {"use", "expire", "cancel"} else minor
        self.used += {"use": minor, "refund": -minor}.get(kind, 0)
        self.expired += minor if kind == "expire" else 0
        self.lines.append((kind, minor, self.balance))


class ModelCards:
    """The gift cards of a programme at one merchant."""

    def __init__(self, rules: CardRules) -> None:
        self.rules = rules
        self.cards: list[ModelCard] = []
        self.uses: list[ModelUse] = []
        self.refunds: dict[str, tuple[Any, Reply]] = {}

    def issue(self, minor: int, currency: str, now: datetime) -> Reply:
        if currency != "SAR":
            return refuse("currency_mismatch")
        if minor not in self.rules.amounts:
            return refuse("amount_out_of_range")
        card = ModelCard(minor)
        self.cards.append(card)
        return Reply(201, {"gift_cards": [card.shown(now)]})

    def bought(self, minor: int, now: datetime) -> ModelCard:
        """With points: it is sold as it is issued."""
        card = ModelCard(minor)
        self.cards.append(card)
        self.activate(card, now)
        return card

    def not_returnable(self, card: ModelCard, now: datetime) -> str | None:
        """Why a card that points bought is not taken back: it can't be paid with, or something has happened to it."""
        if (objection := self._unusable(card, now)) is not None:
            return objection
        return None if len(card.lines) == 1 else "reward_not_returnable"

    @staticmethod
    def take_back(card: ModelCard) -> None:
        """It is good for nothing any more, and its money where it came from."""
        card.move("cancel", card.balance)
        card.status = "voided"

    def activate(self, card: ModelCard, now: datetime) -> Reply:
        if (objection := self._standing(card)) is not None:
            return refuse(objection)
        if card.status == "active":
            return refuse("gift_card_active")
        card.status, card.activated_at, card.expires_at = "active", now, self.rules.ends(now)
        card.move("activate", card.amount)
        return Reply(200, card.shown(now))

    def reload(self, card: ModelCard, minor: int, currency: str, now: datetime) -> Reply:
        if currency != "SAR":
            return refuse("currency_mismatch")
        if not self.rules.reloadable:
            return refuse("gift_card_not_reloadable")
        if (objection := self._unusable(card, now)) is not None:
            return refuse(objection)
        if minor not in self.rules.amounts:
            return refuse("amount_out_of_range")
        card.move("reload", minor)
        return Reply(200, card.shown(now))

    def look(self, card: ModelCard, *, right: bool, now: datetime) -> Reply:
        objection = self._try(card, right, now)
        return Reply(200, card.shown(now)) if objection is None else refuse(objection)

    def use(
        self, card: ModelCard, minor: int, currency: str, *, right: bool, partial: bool, now: datetime
    ) -> Reply:
        """What was wrong about the PIN is told first, and counts whatever else is wrong."""
        if (objection := self._try(card, right, now)) is not None:
            return refuse(objection)
        if currency != "SAR":
            return refuse("currency_mismatch")
        if (objection := self._unusable(card, now)) is not None:
            return refuse(objection)
        applied = min(minor, card.balance)
        if not applied or (applied < minor and not partial):
            return refuse("gift_card_insufficient")
        card.move("use", applied)
        self.uses.append(ModelUse(card, applied))
        said: Said = {"asked": sar(minor), "applied": sar(applied), "change": sar(minor - applied)}
        said |= {"status": card.state(now), "balance_after": sar(card.balance), "effective_at": now}
        return Reply(201, said)

    def refund(self, use: ModelUse, ref: str, minor: int | None, currency: str, now: datetime) -> Reply:
        """So much, or (None) all that is left. Comes back to a blocked card, too."""
        if minor is not None and currency != "SAR":
            return refuse("currency_mismatch")
        asked, card = (self.uses.index(use), minor), use.card
        if ref in self.refunds:
            before, reply = self.refunds[ref]
            return Reply(200, reply.body) if before == asked else refuse("refund_conflict")
        if not self.rules.refundable:
            return refuse("gift_card_not_refundable")
        if card.gone(now):
            return refuse("gift_card_expired")
        left = use.applied - use.refunded
        came = left if minor is None else minor
        if not 0 < came <= left:
            return refuse("return_too_much")
        use.refunded += came
        card.move("refund", came)
        said: Said = {"applied": sar(came), "refunded_in_all": sar(use.refunded), "refund_ref": ref}
        said |= {"status": card.state(now), "balance_after": sar(card.balance), "effective_at": now}
        reply = Reply(201, said)
        self.refunds[ref] = asked, reply
        return reply

    def manage(self, card: ModelCard, act: str, now: datetime) -> Reply:
        """Voided while nobody bought it; blocked, and free again."""
        if act == "block":
            if card.blocked:
                return refuse("gift_card_blocked")
            card.blocked = True
        elif act == "unblock":
            card.blocked, card.wrong, card.locked_until = False, 0, None
        else:
            if card.status != "issued":
                return refuse({"voided": "gift_card_voided", "active": "gift_card_active"}[card.status])
            if act == "void":
                card.status = "voided"
            else:
                card.wrong, card.locked_until = 0, None
        return Reply(200, card.shown(now))

    def expire(self, card: ModelCard, now: datetime) -> None:
        if card.status == "active" and card.gone(now) and card.balance:
            card.move("expire", card.balance)

    def _try(self, card: ModelCard, right: bool, now: datetime) -> str | None:
        if card.locked_until is not None and card.locked_until <= now:
            card.locked_until, card.wrong = None, 0
        if card.locked_until is not None:
            return "gift_card_locked"
        if right:
            card.wrong = 0
            return None
        card.wrong += 1
        if card.wrong >= self.rules.attempts:
            card.locked_until = now + self.rules.lock
        return "pin_wrong"

    @staticmethod
    def _standing(card: ModelCard) -> str | None:
        if card.status == "voided":
            return "gift_card_voided"
        return "gift_card_blocked" if card.blocked else None

    def _unusable(self, card: ModelCard, now: datetime) -> str | None:
        if (objection := self._standing(card)) is not None:
            return objection
        if card.status == "issued":
            return "gift_card_not_active"
        return "gift_card_expired" if card.gone(now) else None
