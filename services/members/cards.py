"""Blocking cards: a card is blocked once and for ever, and another may take its place, at the same moment or later."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from services.members import store
from services.members.domain.cards import BlockCard, Blocked, CardRow, Home, check_block
from services.members.domain.members import Card, Claim, card_number
from services.members.store import NewWallet
from shared.errors import Refusal
from shared.events import CardBlocked, CardIssued, HashedIdentity
from shared.identity import identity_hash
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.sql import load

queries = load("services.members", "cards.sql")

_encode = msgspec.json.Encoder().encode


async def block_cards(tx: Tx, items: Sequence[Item[BlockCard]]) -> list[Outcome]:
    """Blocks each card, and tells it; where it is wanted another card takes its place, of the wallet that has its points now."""
    card_ids = [item.command.card_id for item in items]
    locked = await queries.lock_members_of_cards(tx.db, card_ids=card_ids)
    told = {row["member_id"]: row["event_sequence"] for row in locked}
    rows = await queries.cards_by_id(tx.db, card_ids=card_ids)
    cards = {row["card_id"]: CardRow(*row) for row in rows}
    if merged := {card.member_id for card in cards.values() if card.merged_into is not None}:
        ends = await store.goes_on_as(tx.db, merged)
        for card in cards.values():
            card.merged_into = ends.get(card.member_id)
    homes = await _homes(tx, cards.values(), told)
    now = tx.now()
    outcomes: list[Outcome] = []
    for item in items:
        asked = item.command
        try:
            card, home = check_block(
                cards.get(asked.card_id), homes.get(asked.card_id), replace=asked.replace
            )
        except Refusal as refusal:
            outcomes.append(Refused(refusal))
            continue
        before, other = card.status, None
        if before == "active":
            await queries.block_card(tx.db, card_id=card.card_id)
            card.status = "blocked"
            told[card.member_id] += 1
            _tell_blocked(tx, item, card, told[card.member_id], now)
            home.carded = home.carded and card.wallet_id != home.wallet_id
        if asked.replace:
            told[home.member_id] += 1
            other = await _replace(tx, item, card.programme, home, told[home.member_id], now)
            home.carded = True
        answer = Blocked(card.card_id, card.member_id, card.wallet_id, card.programme, card.status, other)
        _note(tx, item, answer, before)
        outcomes.append(Done(200, _encode(answer)))
    await queries.count_events(tx.db, member_ids=list(told), event_sequences=list(told.values()))
    return outcomes


async def _homes(tx: Tx, cards: Collection[CardRow], locked: Collection[UUID]) -> dict[UUID, Home]:
    """By card the wallet that has its points now; cards that lead to the same one share it."""
    whose = {card.card_id: card.merged_into or card.member_id for card in cards}
    if not set(whose.values()) <= set(locked):
        # Who goes on was merged at this moment, before it could be locked: once more.
        raise asyncpg.SerializationError("a member was merged at the same time")
    rows = await queries.homes(tx.db, member_ids=sorted(set(whose.values())))
    homes = {
        (row["member_id"], row["programme"]): Home(row["wallet_id"], row["member_id"], row["carded"])
        for row in rows
    }
    return {card.card_id: homes[whose[card.card_id], card.programme] for card in cards}


async def _replace(tx: Tx, item: Item[Any], programme: str, home: Home, sequence: int, now: datetime) -> Card:
    prefixes, _ = await store.card_prefixes(tx.db)
    wallet = NewWallet(home.wallet_id, home.member_id, programme, uuid7(), prefixes[programme])
    issued = await store.issue_cards(
        tx.db, [wallet], now, lambda prefix: card_number(prefix, secrets.randbelow)
    )
    other = issued[home.wallet_id]
    claims = list(card_claims(tx, other))
    won = await store.claim_identities(tx.db, dict.fromkeys(claims, home.member_id))
    assert len(won) == len(claims), "a card that was just issued names nobody yet"
    tx.emit(
        CardIssued(
            member_id=home.member_id,
            wallet_id=home.wallet_id,
            programme=programme,
            card_id=other.card_id,
            identities=hashed(claims),
            issued_at=now,
        ),
        subject=str(home.member_id),
        sequence=sequence,
        item=item,
    )
    return other


def _tell_blocked(tx: Tx, item: Item[Any], card: CardRow, sequence: int, now: datetime) -> None:
    tx.emit(
        CardBlocked(
            member_id=card.member_id,
            wallet_id=card.wallet_id,
            programme=card.programme,
            card_id=card.card_id,
            identities=hashed(list(card_claims(tx, Card(card.card_id, card.card_number)))),
            reason=item.command.reason,
            blocked_at=now,
        ),
        subject=str(card.member_id),
        sequence=sequence,
        item=item,
    )


def _note(tx: Tx, item: Item[Any], answer: Blocked, before: str) -> None:
    # Ids and no numbers: the audit is append-only.
    by: UUID | None = answer.replaced_by.card_id if answer.replaced_by is not None else None
    tx.audit(
        "card.block",
        f"card/{answer.card_id}",
        item=item,
        before={"status": before},
        after={"status": "blocked", "reason": item.command.reason, "replaced_by": by},
    )


def card_claims(tx: Tx, card: Card) -> Iterator[Claim]:
    """The identities of a card: its id and its number."""
    key = tx.tenant.identity_key
    yield Claim("card_id", identity_hash(key, "card_id", str(card.card_id)))
    yield Claim("card_number", identity_hash(key, "card_number", card.card_number))


def hashed(claims: Sequence[Claim]) -> tuple[HashedIdentity, ...]:
    """Identities as events tell them."""
    return tuple(HashedIdentity(kind=claim.kind, hash=claim.hash.hex()) for claim in claims)
