"""Gift cards: found, locked, and written as decisions leave them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.redeem.domain.giftcards.acts import Reached, Swept, together
from services.redeem.domain.giftcards.card import Used, expire
from services.redeem.domain.giftcards.ledger import Card, Line
from services.redeem.store import versions
from services.redeem.store.sql import columns, gift_cards
from shared.db import Connection

STEP = 500
"""Cards that a step of a sweep looks at: it holds their locks for one short transaction."""

_FIRST = Reached(datetime.min.replace(tzinfo=UTC), UUID(int=0))


class NewCard(NamedTuple):
    """A card to be issued."""

    card_id: UUID
    serial: str
    programme: str
    programme_version: int
    amount_minor: int
    pin_hash: str
    benefit_id: UUID | None = None
    """The purchase of points that it comes by."""


class Refunded(NamedTuple):
    """Money that came back of a use, under a till's reference."""

    refund_id: UUID
    use_id: UUID
    merchant: str
    refund_ref: str
    asked_minor: int | None
    amount_minor: int
    answer: bytes


async def issue(db: Connection, cards: Sequence[NewCard], now: datetime) -> set[UUID]:
    """Writes cards; gives those whose serial nobody had."""
    names = (
        "card_ids",
        "serials",
        "programmes",
        "programme_versions",
        "amounts",
        "pin_hashes",
        "benefit_ids",
    )
    return {row[0] for row in await gift_cards.issue_cards(db, now=now, **columns(names, cards))}


async def pin_of(db: Connection, serial: str) -> tuple[UUID, str] | None:
    """A card and the hash of its PIN."""
    row = await gift_cards.pin_of(db, serial=serial)
    return None if row is None else (row["card_id"], row["pin_hash"])


async def named(db: Connection, serials: Iterable[str], use_ids: Iterable[UUID]) -> dict[str, UUID]:
    """The cards of serials and of uses (by their ids, as text)."""
    rows = await gift_cards.named(db, serials=list(serials), use_ids=list(use_ids))
    return {row["name"]: row["card_id"] for row in rows}


async def lock(db: Connection, card_ids: Iterable[UUID]) -> dict[UUID, Card]:
    """Cards, locked until the end of the transaction; those that there are."""
    return {row[0]: Card(*row) for row in await gift_cards.lock_cards(db, card_ids=list(card_ids))}


async def see(db: Connection, card_ids: Iterable[UUID]) -> dict[UUID, Card]:
    """Cards as they are, unlocked."""
    return {row[0]: Card(*row) for row in await gift_cards.see_cards(db, card_ids=list(card_ids))}


async def uses(db: Connection, use_ids: Iterable[UUID]) -> dict[UUID, Used]:
    """Uses; their cards are locked."""
    return {row[0]: Used(*row) for row in await gift_cards.uses(db, use_ids=list(use_ids))}


async def refunds(db: Connection, references: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """What was given back under (merchant, reference)."""
    rows = await gift_cards.refunds(db, **columns(("merchants", "refund_refs"), list(references)))
    return {(row["merchant"], row["refund_ref"]): row for row in rows}


async def write(
    db: Connection, cards: Iterable[Card], *, used: Sequence[Used], refunded: Sequence[tuple[Refunded, Used]]
) -> None:
    """Writes what a batch did to locked cards."""
    changed = [card for card in cards if card.changed]
    if changed:
        await gift_cards.write_cards(db, **columns(_CARD_COLUMNS, [_state(card) for card in changed]))
    lines: list[Line] = [line for card in changed for line in card.lines]
    if lines:
        rows = [msgspec.structs.astuple(line) for line in lines]
        await gift_cards.write_lines(db, **columns(_LINE_COLUMNS, rows))
    if used:
        # What a later item of the batch gave back of it is written below.
        rows = [(*msgspec.structs.astuple(one)[:-1], 0) for one in used]
        await gift_cards.write_uses(db, **columns(_USE_COLUMNS, rows))
    if refunded:
        totals = {one.use_id: one.refunded_minor for _, one in refunded}
        await gift_cards.write_refunds(
            db,
            total_uses=list(totals),
            totals=list(totals.values()),
            **columns(_REFUND_COLUMNS, [row for row, _ in refunded]),
        )


async def due(
    db: Connection, place: Reached | None, now: datetime, *, most: int = STEP
) -> tuple[list[UUID], Reached | None]:
    """Cards that are due, and where to go on; None after the last."""
    after = place or _FIRST
    rows = await gift_cards.due(db, now=now, after_at=after.at, after_id=after.card_id, most=most)
    following = Reached(rows[-1]["expires_at"], rows[-1]["card_id"]) if len(rows) == most else None
    return [row["card_id"] for row in rows], following


async def would_expire(
    db: Connection, cache: dict[Any, Any], place: Reached | None, now: datetime, *, most: int
) -> tuple[dict[str, Swept], Reached | None]:
    """What a step would expire that went on from here, decided by the same function, and where the next would go on."""
    card_ids, following = await due(db, place, now, most=most)
    cards = (await see(db, card_ids)).values()
    known = await versions.newest_read(db, cache, {card.programme for card in cards})
    swept: dict[str, Swept] = {}
    for card in cards:
        terms = known.get(card.programme)
        if terms is not None and (line := expire(card, now, UUID(int=0))) is not None:
            together(swept, (Swept(card.programme, terms.currency, 1, line.amount_minor),))
    return swept, following


async def lines(db: Connection, card_id: UUID, *, before: int, most: int) -> list[Any]:
    """A card's lines, the newest first."""
    return list(await gift_cards.lines_page(db, card_id=card_id, before=before, most=most))


async def liability(db: Connection, programme: str, now: datetime) -> Any:
    """What is owed on a programme's cards: a row of counts and minor units."""
    return await gift_cards.liability(db, programme=programme, now=now)


def _state(card: Card) -> tuple[Any, ...]:
    return (
        card.card_id,
        card.pin_hash,
        card.status,
        card.activated_at,
        card.expires_at,
        card.blocked,
        card.wrong_pins,
        card.locked_until,
        card.issued,
        card.balance,
        card.used,
        card.expired,
        card.seq,
        card.event_sequence,
        card.head,
        card.last_posted_at,
    )


_CARD_COLUMNS = (
    "card_ids", "pin_hashes", "statuses", "activated_ats", "expires_ats", "blockeds", "wrong_pins", "locked_untils", "issueds",
    "balances", "useds", "expireds", "seqs", "event_sequences", "heads", "last_posted_ats",
)  # fmt: skip
_LINE_COLUMNS = (
    "card_ids", "seqs", "posting_ids", "posted_ats", "effective_ats", "amounts", "issued_afters", "balance_afters",
    "used_afters", "expired_afters", "source_ids", "kinds", "from_buckets", "to_buckets", "hashes",
)  # fmt: skip
_USE_COLUMNS = (
    "use_ids", "card_ids", "programmes", "askeds", "applieds", "merchants", "terminals", "cashiers", "bill_refs", "used_ats",
    "refundeds",
)  # fmt: skip
_REFUND_COLUMNS = ("refund_ids", "use_ids", "merchants", "refund_refs", "askeds", "amounts", "answers")
assert len(_LINE_COLUMNS) == len(Line.__struct_fields__)
assert len(_USE_COLUMNS) == len(Used.__struct_fields__)
