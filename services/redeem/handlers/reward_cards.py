"""Gift cards that points buy: issued and activated with the purchase, cancelled with its return."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.redeem.domain.giftcards import card as decide
from services.redeem.domain.giftcards.acts import Draft, Place
from services.redeem.domain.giftcards.ledger import Card
from services.redeem.domain.giftcards.shown import card_out
from services.redeem.domain.rewards import Benefit, Reward, RewardUnavailable, check_loads
from services.redeem.handlers.gift_cards import draw
from services.redeem.handlers.tell_gift_cards import tell_issued, tell_moved
from services.redeem.store import gift_cards as store
from services.redeem.store.postings import Redemption
from shared.ids import uuid7
from shared.messaging import Done, Item, Tx
from shared.programme.compiled import CompiledProgramme

_encode = msgspec.json.Encoder().encode


class Wanted(NamedTuple):
    """A card that a purchase of this batch issues: the place of its outcome, and what it is of."""

    place: int
    item: Item[Any]
    terms: CompiledProgramme
    reward: Reward
    benefit: Benefit
    row: Redemption
    draft: Draft


def check(reward: Reward, terms: CompiledProgramme, *, draft: Draft | None, later: bool) -> None:
    """Refuses a gift card that can't be bought in this way, before any points are taken."""
    if reward.loads is None:
        return
    if later:
        raise RewardUnavailable("A gift card is bought at once: its PIN is told with it.", pointer="/capture")
    check_loads(terms, reward.loads)
    if draft is None:
        raise decide.learned_since(terms.code)


async def issue(tx: Tx, wanted: Sequence[Wanted], outcomes: dict[int, Any]) -> None:
    """Issues and activates the cards of a batch, whose benefits are written, and adds them to the answers: without PINs, which
    are kept nowhere. They come after the stock's locks: nobody else can know of these rows."""
    if not wanted:
        return
    for one in wanted:
        assert one.reward.loads is not None
        assert one.terms.gift_cards is not None
        new = store.NewCard(
            one.draft.card_id, "", one.terms.code, one.terms.version, one.reward.loads.amount_minor,
            one.draft.pin_hash, one.benefit.benefit_id,
        )  # fmt: skip
        await draw(tx, [new], one.terms.gift_cards.serial_prefix)
    cards = await store.lock(tx.db, [one.draft.card_id for one in wanted])
    for one in wanted:
        card = cards[one.draft.card_id]
        outcomes[one.place] = _activated(tx, one, card, outcomes[one.place])
    await store.write(tx.db, cards.values(), used=[], refunded=[])


def _activated(tx: Tx, one: Wanted, card: Card, done: Done) -> Done:
    assert one.terms.gift_cards is not None
    currency, row, now = one.terms.currency, one.row, one.benefit.issued_at
    tell_issued(tx, one.item, card, currency, now)
    line = decide.activate(card, one.terms.gift_cards, now, uuid7())
    place = Place(merchant=row.merchant, terminal=row.terminal, cashier=row.cashier, bill_ref=row.bill_ref)
    tell_moved(tx, one.item, card, line, currency, now=now, place=place)
    answer = msgspec.json.decode(done.body)
    answer["gift_card"] = card_out(card, currency, now)
    return dataclasses.replace(done, body=_encode(answer))


class BoughtCards:
    """The cards that a batch's returned purchases bought, locked after the wallets and before the stock."""

    def __init__(self, tx: Tx, cards: dict[UUID, Card]) -> None:
        self._tx, self._cards = tx, cards

    @classmethod
    async def of(cls, tx: Tx, card_ids: Iterable[UUID]) -> BoughtCards:
        """Locks them; most batches have none."""
        ids = set(card_ids)
        return cls(tx, await store.lock(tx.db, ids) if ids else {})

    def check(self, card_id: UUID | None, now: datetime) -> None:
        """Refuses to take back a card that was used, is blocked, or is over."""
        if card_id is not None:
            decide.check_cancel(self._cards[card_id], now)

    def take_back(self, card_id: UUID | None, item: Item[Any], currency: str, now: datetime) -> None:
        """Empties the card, for good."""
        if card_id is not None:
            card = self._cards[card_id]
            line = decide.cancel(card, now, uuid7())
            tell_moved(self._tx, item, card, line, currency, now=now)

    async def write(self) -> None:
        """Writes what was taken back."""
        await store.write(self._tx.db, self._cards.values(), used=[], refunded=[])
