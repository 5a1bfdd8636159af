"""What becomes of a gift card: decisions over the card as it stands under its lock.

Each raises its refusal before anything has moved; only a wrong PIN leaves something behind, its count.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from services.redeem.domain.giftcards.acts import Tried
from services.redeem.domain.giftcards.ledger import Card, Line
from services.redeem.domain.rewards import GiftCardNotOffered, RewardNotReturnable
from shared.errors import AmountOutOfRange, CurrencyMismatch, ProgrammeClosed, ProgrammeUnknown, Refusal
from shared.money import Money
from shared.programme.compiled import CompiledProgramme
from shared.programme.gift_cards import CompiledGiftCards
from shared.programme.model import MAX_MINOR

Status = Literal["issued", "active", "partially_used", "used", "expired", "voided"]


class PinWrong(Refusal):
    code = "pin_wrong"


class GiftCardLocked(Refusal):
    code = "gift_card_locked"


class GiftCardBlocked(Refusal):
    code = "gift_card_blocked"


class GiftCardExpired(Refusal):
    code = "gift_card_expired"


class GiftCardNotActive(Refusal):
    code = "gift_card_not_active"


class GiftCardActive(Refusal):
    code = "gift_card_active"


class GiftCardVoided(Refusal):
    code = "gift_card_voided"


class GiftCardInsufficient(Refusal):
    code = "gift_card_insufficient"


class GiftCardNotRefundable(Refusal):
    code = "gift_card_not_refundable"


class GiftCardNotReloadable(Refusal):
    code = "gift_card_not_reloadable"


class ReturnTooMuch(Refusal):
    code = "return_too_much"


class PinChanged(PinWrong):
    """The PIN was checked against a hash that is not the card's any more: it is to be checked again, and this not kept."""

    code = "pin_wrong"


class Used(msgspec.Struct):
    """A use, and what of it came back. The fields stand in the order of the table's columns; its id is its posting's."""

    use_id: UUID
    card_id: UUID
    programme: str
    asked_minor: int
    applied_minor: int
    merchant: str
    terminal: str | None
    cashier: str | None
    bill_ref: str | None
    used_at: datetime
    refunded_minor: int = 0


NO_SUCH_CARD = "No gift card has this serial and this PIN."


def status_of(card: Card, now: datetime) -> Status:
    """What the card is at that instant."""
    if card.status != "active":
        return card.status
    if card.expired_by(now):
        return "expired"
    if card.balance == 0:
        return "used"
    return "partially_used" if card.used else "active"


def try_pin(card: Card, tried: Tried, terms: CompiledGiftCards, now: datetime) -> Refusal | None:
    """Counts a PIN that was given; None where it is right. Once the attempts are used up nobody learns whether it is."""
    if tried.pin_hash != card.pin_hash:
        changed = PinChanged(NO_SUCH_CARD)
        changed.frozen = False
        return changed
    if card.locked_until is not None and card.locked_until <= now:
        card.locked_until, card.wrong_pins, card.changed = None, 0, True
    if card.locked_until is not None:
        return GiftCardLocked(f"Too many wrong PINs. Try again after {card.locked_until:%Y-%m-%dT%H:%M:%SZ}.")
    if tried.right:
        if card.wrong_pins:
            card.wrong_pins, card.changed = 0, True
        return None
    card.wrong_pins += 1
    card.changed = True
    if card.wrong_pins >= terms.pin_attempts:
        card.locked_until = now + terms.lock
    return PinWrong(NO_SUCH_CARD, pointer="/pin")


def activate(card: Card, terms: CompiledGiftCards, now: datetime, posting_id: UUID) -> Line:
    """Loads an issued card with its amount; from now on its time runs."""
    _standing(card)
    if card.status == "active":
        raise GiftCardActive("The gift card was activated before.")
    card.status = "active"
    card.activated_at = now
    card.expires_at = terms.expires_at(now)
    return card.move("activate", card.amount_minor, posting_id=posting_id, source_id=None, effective_at=now)


def reload(card: Card, terms: CompiledGiftCards, amount_minor: int, now: datetime, posting_id: UUID) -> Line:
    """Loads an active card with more; its expiry stays."""
    if not terms.reloadable:
        raise GiftCardNotReloadable("The programme's gift cards are not loaded again.")
    _usable(card, now)
    check_amount(terms, amount_minor)
    if card.balance + amount_minor > MAX_MINOR:
        raise AmountOutOfRange("A gift card holds no more than that.", pointer="/amount/amount_minor")
    return card.move("reload", amount_minor, posting_id=posting_id, source_id=None, effective_at=now)


def use(card: Card, amount_minor: int, *, partial: bool, now: datetime, posting_id: UUID) -> Line:
    """Pays with the card: all of the amount, or with `partial` as much of it as there is."""
    _usable(card, now)
    applied = min(amount_minor, card.balance)
    if applied == 0 or (applied < amount_minor and not partial):
        raise GiftCardInsufficient(
            f"The gift card has {card.balance} minor units; {amount_minor} were asked.",
            pointer="/amount/amount_minor",
        )
    return card.move("use", applied, posting_id=posting_id, source_id=posting_id, effective_at=now)


def refund(
    card: Card,
    used: Used,
    terms: CompiledGiftCards,
    amount_minor: int | None,
    now: datetime,
    posting_id: UUID,
) -> Line:
    """Gives back what a use took, or so much of it; refunds of one use never come to more. A used-up card is good again."""
    if not terms.refundable:
        raise GiftCardNotRefundable("Nothing is given back to the programme's gift cards.")
    if card.expired_by(now):
        raise _expired(card)
    left = used.applied_minor - used.refunded_minor
    wanted = left if amount_minor is None else amount_minor
    if wanted == 0 or wanted > left:
        raise ReturnTooMuch(
            f"{left} minor units are left of what the gift card paid; {wanted or 'more'} were asked.",
            pointer="/amount/amount_minor",
        )
    used.refunded_minor += wanted
    return card.move("refund", wanted, posting_id=posting_id, source_id=used.use_id, effective_at=now)


def expire(card: Card, now: datetime, posting_id: UUID) -> Line | None:
    """What is left on a card whose time is over expires; None where nothing does."""
    if card.status != "active" or not card.expired_by(now) or card.balance == 0:
        return None
    assert card.expires_at is not None
    return card.move(
        "expire", card.balance, posting_id=posting_id, source_id=None, effective_at=card.expires_at
    )


def void(card: Card) -> None:
    """An unactivated card is good for nothing any more."""
    if card.status == "voided":
        raise GiftCardVoided("The gift card was voided before.")
    if card.status == "active":
        raise GiftCardActive("The gift card is activated; only what was never sold is voided.")
    card.status, card.changed = "voided", True


def check_cancel(card: Card, now: datetime) -> None:
    """Refuses to take back a card that anything happened to since it was activated, or that can't be paid with now."""
    _usable(card, now)
    if card.seq != 1:
        raise RewardNotReturnable("The gift card was used: it is not taken back.")


def cancel(card: Card, now: datetime, posting_id: UUID) -> Line:
    """What bought an unused card is given back: its money goes where it came from, and it is good for nothing any more."""
    check_cancel(card, now)
    card.status = "voided"
    return card.move("cancel", card.balance, posting_id=posting_id, source_id=None, effective_at=now)


def block(card: Card) -> None:
    """Nothing is paid with it until the block is taken away. Refused where it is blocked already."""
    if card.blocked:
        raise GiftCardBlocked("The gift card is blocked already.")
    card.blocked, card.changed = True, True


def unblock(card: Card) -> None:
    """Takes the block away, and the lock of wrong PINs with it."""
    card.blocked, card.wrong_pins, card.locked_until, card.changed = False, 0, None, True


def renew_pin(card: Card, pin_hash: str) -> None:
    """Another PIN for a card that nobody has bought yet."""
    if card.status == "voided":
        raise GiftCardVoided("The gift card was voided.")
    if card.status == "active":
        raise GiftCardActive("The gift card is activated; its PIN is its owner's.")
    card.pin_hash, card.wrong_pins, card.locked_until, card.changed = pin_hash, 0, None, True


def checked_to_issue(programme: str, terms: CompiledProgramme | None, amount: Money) -> CompiledGiftCards:
    """What the programme says of its gift cards; refuses what none of them is issued with."""
    if terms is None:
        raise ProgrammeUnknown(f"There is no programme {programme}.", pointer="/programme")
    if terms.closed:
        raise ProgrammeClosed.named(programme, pointer="/programme")
    if terms.gift_cards is None:
        raise GiftCardNotOffered(f"The programme {programme} has no gift cards.", pointer="/programme")
    same_currency(terms, amount)
    check_amount(terms.gift_cards, amount.amount_minor)
    return terms.gift_cards


def learned_since(programme: str) -> GiftCardNotOffered:
    """For a call that was to be refused a moment ago, and whose programme has come meanwhile: it is asked again."""
    refusal = GiftCardNotOffered(f"The programme {programme} was told of just now. Ask again.")
    refusal.frozen = False
    return refusal


def same_currency(terms: CompiledProgramme, amount: Money) -> None:
    """Refuses an amount that the programme does not count in."""
    if amount.currency != terms.currency:
        raise CurrencyMismatch(
            f"The programme counts in {terms.currency}, not {amount.currency}.", pointer="/amount/currency"
        )


def check_amount(terms: CompiledGiftCards, amount_minor: int) -> None:
    """Refuses what no card is loaded with."""
    if not terms.loads(amount_minor):
        raise AmountOutOfRange(f"Gift cards are loaded with {terms.told()}.", pointer="/amount/amount_minor")


def _standing(card: Card) -> None:
    if card.status == "voided":
        raise GiftCardVoided("The gift card was voided.")
    if card.blocked:
        raise GiftCardBlocked("The gift card is blocked.")


def _usable(card: Card, now: datetime) -> None:
    _standing(card)
    if card.status == "issued":
        raise GiftCardNotActive("The gift card is not activated yet.")
    if card.expired_by(now):
        raise _expired(card)


def _expired(card: Card) -> GiftCardExpired:
    return GiftCardExpired(f"The gift card expired at {card.expires_at:%Y-%m-%dT%H:%M:%SZ}.")
