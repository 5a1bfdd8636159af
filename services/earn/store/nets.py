"""The two nets against repeats, and how a bill that was caught in them had been answered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.earn.domain.bill import RecordBill
from services.earn.domain.decision import Decision, decode_decision
from services.earn.store.sql import queries
from shared.db import Connection
from shared.rows import Rows


class FirstAnswer(NamedTuple):
    """How a bill was answered first."""

    bill_id: UUID
    bill_ref: str
    merchant: str
    occurred_at: datetime
    recorded_at: datetime
    recorded_event_id: UUID
    entry_id: str | None
    source: str | None
    event_id: str | None
    decision: Decision


POS_EVENTS = Rows("pos_events", source="word", event_id="text", content_hash="bytea")
BILL_KEYS = Rows("bill_keys", merchant="word", bill_ref="text", content_hash="bytea", bill_id="uuid")


async def claim_all(
    db: Connection,
    offers: Sequence[tuple[str, str, bytes]],
    bills: Iterable[tuple[UUID, RecordBill]],
) -> bool:
    """Takes every (source, id) and every reference by COPY, at half the price of asking for each; or none of them, where
    one was used before or stands here twice: then each has to be asked for by itself."""
    keys = [(bill.merchant, bill.bill_ref, bill.content_hash, bill_id) for bill_id, bill in bills]
    try:
        async with db.transaction():
            # Sorted, as every claim is: code points and the collation "C" have the same order.
            await POS_EVENTS.copy(db, [POS_EVENTS.row(*offer) for offer in sorted(offers)])
            await BILL_KEYS.copy(db, [BILL_KEYS.row(*key) for key in sorted(keys)])
    except asyncpg.UniqueViolationError:
        return False
    return True


async def claim_pos_events(db: Connection, offers: Sequence[tuple[str, str, bytes]]) -> set[tuple[str, str]]:
    """Those (source, id) that were not used before, and are from now on. Each only once in `offers`."""
    sources, event_ids, hashes = zip(*offers, strict=True)
    rows = await queries.claim_pos_events(db, sources=sources, event_ids=event_ids, content_hashes=hashes)
    return {(row[0], row[1]) for row in rows}


async def pos_contents(db: Connection, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    """What these (source, id) were used for."""
    rows = await queries.pos_contents(
        db, sources=[one for one, _ in pairs], event_ids=[other for _, other in pairs]
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def claim_bill_keys(db: Connection, bills: Sequence[tuple[UUID, RecordBill]]) -> set[UUID]:
    """Those bills whose reference was not used before, and is from now on. Each reference only once."""
    rows = await queries.claim_bill_keys(
        db,
        merchants=[bill.merchant for _, bill in bills],
        bill_refs=[bill.bill_ref for _, bill in bills],
        content_hashes=[bill.content_hash for _, bill in bills],
        bill_ids=[bill_id for bill_id, _ in bills],
    )
    return {row[0] for row in rows}


async def bill_contents(db: Connection, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    """What these (merchant, bill_ref) were used for."""
    rows = await queries.bill_contents(
        db, merchants=[one for one, _ in keys], bill_refs=[other for _, other in keys]
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def first_answers(
    db: Connection, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], FirstAnswer]:
    """How the bills with these (merchant, bill_ref) were answered first."""
    rows = await queries.first_answers(
        db, merchants=[one for one, _ in keys], bill_refs=[other for _, other in keys]
    )
    return {
        (row["merchant"], row["bill_ref"]): FirstAnswer(
            bill_id=row["bill_id"],
            bill_ref=row["bill_ref"],
            merchant=row["merchant"],
            occurred_at=row["occurred_at"],
            recorded_at=row["recorded_at"],
            recorded_event_id=row["recorded_event_id"],
            entry_id=row["stream_id"],
            source=row["source"],
            event_id=row["event_id"],
            decision=decode_decision(row["decision"]),
        )
        for row in rows
    }
