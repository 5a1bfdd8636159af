"""Bills that wait, and where they meet what they wait for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from services.earn.domain.bill import RecordBill, recorded_bill, stored_claims, stored_tenders
from services.earn.domain.decision import Decision, decode_decision
from services.earn.store.listeners import Entry, tellers_of
from services.earn.store.sql import queries
from shared.db import Connection
from shared.identity import Identity
from shared.ids import uuid7


class LastSettled(NamedTuple):
    """What was told last of a bill that waited: under which id, and in which place among its events."""

    event_id: UUID
    sequence: int
    at: datetime
    decision: Decision


class WaitingBill(NamedTuple):
    """A bill that waits, locked. `n` and `sequence` are those of its last decision; `tellers` who is told of it, the till that it
    came from first."""

    bill_id: UUID
    taken_at: datetime
    waits_for: tuple[str, str]
    ready: bool
    bill: RecordBill
    tellers: tuple[Entry, ...]
    unclaimed: bool
    n: int
    sequence: int
    request_id: str
    traceparent: str | None


async def lock_awaited(db: Connection, waits: Collection[tuple[str, str]]) -> None:
    """Locks what is awaited, known or not. Look for it in a later statement."""
    if waits:
        await queries.lock_awaited(db, kinds=[kind for kind, _ in waits], keys=[key for _, key in waits])


async def begin_waiting(
    db: Connection,
    rows: Sequence[tuple[UUID, str, str, str, str | None]],
    *,
    taken_at: datetime,
) -> None:
    """(bill, kind, key, request id, traceparent) of bills that wait from now on, recorded in this transaction."""
    bill_ids, kinds, keys, request_ids, traceparents = zip(*rows, strict=True)
    await queries.begin_waiting(
        db,
        bill_ids=bill_ids,
        kinds=kinds,
        keys=keys,
        request_ids=request_ids,
        traceparents=traceparents,
        taken_at=taken_at,
    )


async def learned(db: Connection, waits: Collection[tuple[str, str]]) -> int:
    """Makes ready the bills and acts that waited for what was just learned, under the locks on it; gives how many."""
    if not waits:
        return 0
    kinds, keys = [kind for kind, _ in waits], [key for _, key in waits]
    ready = await queries.make_ready(db, kinds=kinds, keys=keys)
    await queries.forget_awaited(db, kinds=kinds, keys=keys)
    return len(ready)


async def come_meanwhile(db: Connection, waits: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """What of this was learned by who passed by those that wait for it, for they were locked: makes them ready in its place."""
    if not waits:
        return set()
    await lock_awaited(db, waits)
    kinds, keys = [kind for kind, _ in waits], [key for _, key in waits]
    rows = await queries.known_awaited(
        db, kinds=kinds, keys=keys
    )  # a later statement: it sees who was before us
    come = {(row[0], row[1]) for row in rows}
    await learned(db, come)
    return come


async def lock_waiting(db: Connection, bill_ids: Collection[UUID]) -> list[WaitingBill]:
    """Those of the bills that still wait, locked, in the order of their ids."""
    locked = {row["bill_id"]: row for row in await queries.lock_waiting(db, bill_ids=list(bill_ids))}
    if not locked:
        return []
    rows = await queries.waiting_bills(
        db, bill_ids=list(locked), recorded_ats=[row["recorded_at"] for row in locked.values()]
    )
    bills = {row["bill_id"]: row for row in rows}
    tellers = await tellers_of(
        db, [(row["bill_id"], row["stream_id"], row["source"], row["event_id"]) for row in rows]
    )
    return [
        WaitingBill(
            bill_id=bill_id,
            taken_at=row["taken_at"],
            waits_for=(row["kind"], row["key"]),
            ready=row["ready"],
            bill=_bill(bills[bill_id]),
            tellers=tellers[bill_id],
            unclaimed=row["unclaimed"],
            n=row["n"],
            sequence=row["sequence"],
            request_id=row["request_id"],
            traceparent=row["traceparent"],
        )
        for bill_id, row in locked.items()
    ]


def _bill(row: Any) -> RecordBill:
    identity = None if row["identity"] is None else Identity(row["identity_kind"], row["identity"])
    programmes = None if row["programmes"] is None else tuple(row["programmes"])
    return recorded_bill(
        row["merchant"],
        row["bill_ref"],
        row["terminal"],
        row["cashier"],
        row["channel"],
        row["occurred_at"],
        identity,
        row["currency"],
        row["total_minor"],
        programmes,
        row["lines"].encode(),
        tenders=stored_tenders(row["tenders"]),
        claims=stored_claims(row["effects_applied"]),
    )


async def last_settled(db: Connection, bill_ids: Collection[UUID]) -> dict[UUID, LastSettled]:
    """What those of the bills that were told again were told last."""
    rows = await queries.last_settled(db, bill_ids=list(bill_ids))
    return {
        row["bill_id"]: LastSettled(
            row["event_id"] or uuid7(), row["sequence"], row["recorded_at"], decode_decision(row["decision"])
        )
        for row in rows
    }


async def wait_on(db: Connection, rows: Sequence[tuple[UUID, str, str]]) -> None:
    """(bill, kind, key): what these bills wait for instead."""
    if rows:
        bill_ids, kinds, keys = zip(*rows, strict=True)
        await queries.wait_on(db, bill_ids=bill_ids, kinds=kinds, keys=keys)


async def end_waiting(db: Connection, bill_ids: Sequence[UUID]) -> None:
    """These bills are settled."""
    await queries.end_waiting(db, bill_ids=bill_ids)


async def mark_unclaimed(db: Connection, bill_ids: Sequence[UUID]) -> None:
    """These bills were reported unclaimed."""
    await queries.mark_unclaimed(db, bill_ids=bill_ids)


async def tick(db: Connection, *, runs: bool, gap: timedelta) -> None:
    """Lets the clock of the deadline run on, where it may run."""
    await queries.tick(db, runs=runs, gap=gap)


async def count_waiting(db: Connection) -> tuple[int, int, int]:
    """How many bills wait, how many acts, and for how many referrals something is to be done."""
    row = await queries.count_waiting(db)
    return row["bills"], row["acts"], row["referrals"]


async def ready_bills(db: Connection, *, besides: Sequence[UUID] = ()) -> list[UUID]:
    """Some of the bills whose waiting may be over, but for those."""
    return [row["bill_id"] for row in await queries.ready_bills(db, besides=besides)]


async def overlooked_bills(db: Connection) -> list[UUID]:
    """Some of the bills that wait for what is known, although nobody marked them ready."""
    return [row["bill_id"] for row in await queries.overlooked_bills(db)]


async def overdue_bills(db: Connection, *, deadline_ms: int) -> list[UUID]:
    """Some of the bills that wait longer than that and were not reported yet."""
    return [row["bill_id"] for row in await queries.overdue_bills(db, deadline_ms=deadline_ms)]


async def applied_through(db: Connection, stream: str) -> int:
    """Up to where this stream was applied without a gap."""
    return int(await queries.applied_through(db, stream=stream) or 0)
