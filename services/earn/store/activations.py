"""Activations that tills tell by their stream, as they are written and read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from services.earn.domain.activation import Told
from shared.db import Connection
from shared.sql import load

queries = load("services.earn.store", "activations.sql")

Reference = tuple[str, str]


async def tell(db: Connection, new: Sequence[Told], *, recorded_at: datetime) -> None:
    """Keeps each as the first word about its bill, unless there was one. Each bill only once."""
    await queries.tell(
        db,
        merchants=[one.merchant for one in new],
        bill_refs=[one.bill_ref for one in new],
        occurred_ats=[one.occurred_at for one in new],
        stream_ids=[one.stream_id for one in new],
        sources=[one.source for one in new],
        event_ids=[one.event_id for one in new],
        request_ids=[one.request_id for one in new],
        traceparents=[one.traceparent for one in new],
        recorded_event_ids=[one.recorded_event_id for one in new],
        recorded_at=recorded_at,
    )


async def told(db: Connection, references: Collection[Reference]) -> dict[Reference, Told]:
    """What was told of these (merchant, bill_ref)."""
    rows = await queries.told(
        db, merchants=[merchant for merchant, _ in references], bill_refs=[ref for _, ref in references]
    )
    return {(row["merchant"], row["bill_ref"]): Told(*row) for row in rows}


async def any_arrived(db: Connection) -> bool:
    """Whether a bill has come whose activation was told before it."""
    return bool(await queries.any_arrived(db))


async def lock_arrived(db: Connection, *, most: int) -> list[Told]:
    """Some of those, locked, with their bills."""
    return [Told(*row) for row in await queries.lock_arrived(db, most=most)]


async def settle(db: Connection, arrived: Sequence[tuple[Told, UUID]], *, settled_at: datetime) -> None:
    """(activation, id of the event that says that its bill is there)."""
    await queries.settle(
        db,
        merchants=[one.merchant for one, _ in arrived],
        bill_refs=[one.bill_ref for one, _ in arrived],
        bill_ids=[one.bill_id for one, _ in arrived],
        settled_event_ids=[event_id for _, event_id in arrived],
        settled_at=settled_at,
    )
