"""Gift cards: issued, and all that happens to them under their locks, in the order it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.redeem.domain.giftcards import card as decide
from services.redeem.domain.giftcards.acts import (
    Activate,
    ExpireCards,
    ExpiryAnswer,
    Issue,
    Look,
    Manage,
    Moves,
    Place,
    RefundUse,
    Reload,
    RenewPin,
    Swept,
    Use,
)
from services.redeem.domain.giftcards.ledger import Card
from services.redeem.domain.giftcards.pins import GiftCardUnknown, new_serial
from services.redeem.domain.giftcards.shown import card_out, refund_out, use_out
from services.redeem.handlers.tell_gift_cards import note_pin, tell_changed, tell_issued, tell_moved
from services.redeem.store import gift_cards as store
from services.redeem.store import versions
from services.redeem.store.rewards import terminals_of
from shared.errors import (
    MerchantUnknown,
    NotFound,
    ProgrammeClosed,
    Refusal,
    TerminalUnknown,
)
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.programme.compiled import CompiledProgramme
from shared.programme.gift_cards import CompiledGiftCards

_encode = msgspec.json.Encoder().encode
DRAWS = 5
"""How often a serial is drawn anew that another card has: of 10^10 numbers or more, the first is nearly always free."""


class RefundConflict(Refusal):
    code = "refund_conflict"


async def issue_cards(tx: Tx, items: Sequence[Item[Issue]]) -> list[Outcome]:
    """Issues cards under fresh serials. The answer names no PIN: who asked has them, and they are kept nowhere."""
    outcomes: list[Outcome] = []
    for item in items:
        command = item.command
        terms = await versions.newest(tx.db, tx.cache, command.programme)
        try:
            decide.checked_to_issue(command.programme, terms, command.amount)
            if not command.drafts:
                raise decide.learned_since(command.programme)
        except Refusal as refusal:
            outcomes.append(Refused(refusal))
            continue
        assert terms is not None
        assert terms.gift_cards is not None
        wanted = [
            store.NewCard(
                draft.card_id,
                "",
                command.programme,
                terms.version,
                command.amount.amount_minor,
                draft.pin_hash,
            )
            for draft in command.drafts
        ]
        await draw(tx, wanted, terms.gift_cards.serial_prefix)
        drawn = await store.lock(tx.db, [one.card_id for one in wanted])
        cards = [drawn[one.card_id] for one in wanted]
        now = tx.now()
        for card in cards:
            tell_issued(tx, item, card, terms.currency, now)
        shown = [card_out(card, terms.currency, now) for card in cards]
        outcomes.append(Done(201, _encode({"gift_cards": shown})))
    return outcomes


async def draw(tx: Tx, wanted: Sequence[store.NewCard], prefix: str) -> None:
    """Writes cards, each under a serial that is drawn for it here."""
    now = tx.now()
    for _ in range(DRAWS):
        taken = await store.issue(tx.db, [one._replace(serial=new_serial(prefix)) for one in wanted], now)
        wanted = [one for one in wanted if one.card_id not in taken]
        if not wanted:
            return
    raise AssertionError(f"no serials are left under {prefix}")


class _Batch(NamedTuple):
    """What the items of a batch need, read under the cards' locks."""

    tx: Tx
    now: datetime
    ids: Mapping[str, UUID]
    cards: Mapping[UUID, Card]
    uses: Mapping[UUID, decide.Used]
    refunds: dict[tuple[str, str], Any]
    merchants: Mapping[str, Sequence[str]]
    terms: Mapping[str, CompiledProgramme]
    issued_under: Mapping[UUID, CompiledProgramme]
    """Of cards of programmes whose newest version has no gift cards any more."""
    used: list[decide.Used]
    refunded: list[tuple[store.Refunded, decide.Used]]

    def rules(self, card: Card) -> CompiledGiftCards:
        """The gift card section that counts for a card: of the newest version, while that has one."""
        found = self.terms[card.programme].gift_cards
        found = found if found is not None else self.issued_under[card.card_id].gift_cards
        assert found is not None, card.card_id
        return found

    def currency(self, card: Card) -> str:
        """Of the card's programme; a version never changes it."""
        return self.terms[card.programme].currency

    def to_load(self, serial: str) -> Card:
        """The card of a serial; a closed programme loads none."""
        found = self.cards.get(self.ids.get(serial, UUID(int=0)))
        if found is None:
            raise GiftCardUnknown("No gift card has this serial.", pointer="/serial")
        if self.terms[found.programme].closed:
            raise ProgrammeClosed.named(found.programme)
        return found

    def checked(self, place: Place) -> None:
        """Refuses a place that is not known."""
        if place.merchant not in self.merchants:
            raise MerchantUnknown(f"There is no merchant {place.merchant}.", pointer="/merchant")
        if place.terminal is not None and place.terminal not in self.merchants[place.merchant]:
            raise TerminalUnknown(f"{place.merchant} has no terminal {place.terminal}.", pointer="/terminal")


async def move_gift_cards(tx: Tx, items: Sequence[Item[Moves]]) -> list[Outcome]:
    """Everything that happens to cards that there are: each under its card's lock, so that of several at once one comes first."""
    batch = await _begin(tx, items)
    outcomes: list[Outcome] = []
    for item in items:
        try:
            outcomes.append(_decided(batch, item))
        except Refusal as refusal:
            outcomes.append(Refused(refusal))
    await store.write(tx.db, batch.cards.values(), used=batch.used, refunded=batch.refunded)
    return outcomes


async def _begin(tx: Tx, items: Sequence[Item[Moves]]) -> _Batch:
    commands = [item.command for item in items]
    serials = {one.serial for one in commands if isinstance(one, Activate | Reload | Look | Use)}
    use_ids = {one.use_id for one in commands if isinstance(one, RefundUse)}
    ids = await store.named(tx.db, serials, use_ids)
    named = {*ids.values(), *(one.card_id for one in commands if isinstance(one, Manage | RenewPin))}
    swept = {card_id for one in commands if isinstance(one, ExpireCards) for card_id in one.card_ids}
    cards = await store.lock(tx.db, named | swept)
    uses = await store.uses(tx.db, use_ids) if use_ids else {}
    references = {
        (uses[one.use_id].merchant, one.refund_ref)
        for one in commands
        if isinstance(one, RefundUse) and one.use_id in uses
    }
    known = await store.refunds(tx.db, references) if references else {}
    places = {one.place.merchant for one in commands if isinstance(one, Activate | Reload | Use)}
    merchants = await terminals_of(tx.db, places) if places else {}
    # The sweep passes over what only a later release can read; who names a card is told so.
    asked = [card for card in cards.values() if card.card_id in named]
    terms = await versions.newest_read(tx.db, tx.cache, {card.programme for card in cards.values()})
    terms |= await versions.newest_of(tx.db, tx.cache, {card.programme for card in asked} - terms.keys())
    issued_under = {
        card.card_id: await versions.promised(tx.db, tx.cache, card)
        for card in asked
        if terms[card.programme].gift_cards is None
    }
    return _Batch(tx, tx.now(), ids, cards, uses, known, merchants, terms, issued_under, [], [])


def _decided(batch: _Batch, item: Item[Moves]) -> Outcome:
    match item.command:
        case Activate() as command:
            return _activated(batch, item, command)
        case Reload() as command:
            return _reloaded(batch, item, command)
        case Look() as command:
            card = _with_pin(batch, item, command)
            return Done(200, _encode(card_out(card, batch.currency(card), batch.now)))
        case Use() as command:
            return _used(batch, item, command)
        case RefundUse() as command:
            return _refunded(batch, item, command)
        case Manage() as command:
            return _managed(batch, item, command)
        case RenewPin() as command:
            card = _of_id(batch, command.card_id)
            decide.renew_pin(card, command.pin_hash)
            note_pin(batch.tx, item, card, "renew_pin")
            return Done(200, _encode(card_out(card, batch.currency(card), batch.now)))
        case ExpireCards() as command:
            return _expired(batch, item, command)
    raise AssertionError(item.command)


def _activated(batch: _Batch, item: Item[Moves], command: Activate) -> Outcome:
    batch.checked(command.place)
    card = batch.to_load(command.serial)
    line = decide.activate(card, batch.rules(card), batch.now, uuid7())
    currency = batch.currency(card)
    tell_moved(batch.tx, item, card, line, currency, now=batch.now, place=command.place)
    return Done(200, _encode(card_out(card, currency, batch.now)))


def _reloaded(batch: _Batch, item: Item[Moves], command: Reload) -> Outcome:
    batch.checked(command.place)
    card = batch.to_load(command.serial)
    decide.same_currency(batch.terms[card.programme], command.amount)
    line = decide.reload(card, batch.rules(card), command.amount.amount_minor, batch.now, uuid7())
    currency = batch.currency(card)
    tell_moved(batch.tx, item, card, line, currency, now=batch.now, place=command.place)
    return Done(200, _encode(card_out(card, currency, batch.now)))


def _used(batch: _Batch, item: Item[Moves], command: Use) -> Outcome:
    batch.checked(command.place)
    card = _with_pin(batch, item, command)
    currency, asked = batch.currency(card), command.amount.amount_minor
    decide.same_currency(batch.terms[card.programme], command.amount)
    line = decide.use(card, asked, partial=command.partial, now=batch.now, posting_id=uuid7())
    place = command.place
    batch.used.append(
        decide.Used(
            line.posting_id, card.card_id, card.programme, asked, line.amount_minor, place.merchant, place.terminal,
            place.cashier, place.bill_ref, line.effective_at,
        )
    )  # fmt: skip
    tell_moved(batch.tx, item, card, line, currency, now=batch.now, place=place)
    return Done(201, _encode(use_out(card, line, asked, currency, batch.now)))


def _refunded(batch: _Batch, item: Item[Moves], command: RefundUse) -> Outcome:
    used = batch.uses.get(command.use_id)
    if used is None or (command.merchant is not None and used.merchant != command.merchant):
        raise NotFound("There is no such use of a gift card.")
    card = batch.cards[used.card_id]
    if command.amount is not None:
        decide.same_currency(batch.terms[card.programme], command.amount)
    asked = None if command.amount is None else command.amount.amount_minor
    reference = used.merchant, command.refund_ref
    if (known := batch.refunds.get(reference)) is not None:
        if (known["use_id"], known["asked_minor"]) != (used.use_id, asked):
            raise RefundConflict("Another refund has this reference.", pointer="/refund_ref")
        return Done(200, known["answer"])
    line = decide.refund(card, used, batch.rules(card), asked, batch.now, uuid7())
    currency = batch.currency(card)
    place = Place(merchant=used.merchant, bill_ref=used.bill_ref)
    tell_moved(batch.tx, item, card, line, currency, now=batch.now, place=place)
    answer = _encode(refund_out(card, line, command.refund_ref, used.refunded_minor, currency, batch.now))
    row = store.Refunded(
        line.posting_id, used.use_id, used.merchant, command.refund_ref, asked, line.amount_minor, answer
    )
    batch.refunded.append((row, used))
    batch.refunds[reference] = {"use_id": used.use_id, "asked_minor": asked, "answer": answer}
    return Done(201, answer)


def _managed(batch: _Batch, item: Item[Moves], command: Manage) -> Outcome:
    card = _of_id(batch, command.card_id)
    {"void": decide.void, "block": decide.block, "unblock": decide.unblock}[command.act](card)
    currency = batch.currency(card)
    tell_changed(batch.tx, item, card, command.act, currency, now=batch.now, reason=command.reason)
    return Done(200, _encode(card_out(card, currency, batch.now)))


def _expired(batch: _Batch, item: Item[Moves], command: ExpireCards) -> Outcome:
    swept: dict[str, Swept] = {}
    for card_id in command.card_ids:
        card = batch.cards[card_id]
        if card.programme not in batch.terms:
            continue
        line = decide.expire(card, batch.now, uuid7())
        if line is not None:
            currency = batch.currency(card)
            tell_moved(batch.tx, item, card, line, currency, now=batch.now)
            one = swept.setdefault(card.programme, Swept(card.programme, currency))
            one.gift_cards += 1
            one.amount_minor += line.amount_minor
    found = tuple(one for _, one in sorted(swept.items()))
    return Done(200, _encode(ExpiryAnswer(False, found, command.next_cursor)))


def _with_pin(batch: _Batch, item: Item[Moves], command: Look | Use) -> Card:
    """The card whose PIN was given; a wrong one is counted, and noted."""
    card = batch.cards.get(batch.ids.get(command.serial, UUID(int=0)))
    if card is None:
        raise decide.PinWrong(decide.NO_SUCH_CARD, pointer="/pin")
    was_locked = card.locked_until
    refusal = decide.try_pin(card, command.tried, batch.rules(card), batch.now)
    if refusal is None:
        return card
    if type(refusal) is decide.PinWrong:
        note_pin(batch.tx, item, card, "pin_wrong")
        if card.locked_until is not None and card.locked_until != was_locked:
            tell_changed(batch.tx, item, card, "lock", batch.currency(card), now=batch.now)
    raise refusal


def _of_id(batch: _Batch, card_id: UUID) -> Card:
    card = batch.cards.get(card_id)
    if card is None:
        raise NotFound("There is no such gift card.")
    return card
