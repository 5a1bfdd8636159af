"""The postings of each seal, and what the events tell of them."""

from __future__ import annotations

from datetime import UTC, datetime

from services.redeem.domain.reconciliation import SealCompared, Untold
from shared.db import Connection
from shared.sql import load

queries = load("services.redeem.store", "told_events.sql")

EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Before anything was posted."""


async def compare_next(db: Connection, after: int) -> SealCompared | None:
    """The first seal after this one that was not compared yet, compared; None where there is none."""
    row = await queries.next_seal(db, after=after)
    if row is None:
        return None
    return await _compare(db, row["no"], None)


async def compare_unsealed(db: Connection, since: datetime | None) -> SealCompared:
    """What a seal that is taken now would have, compared; only wallets posted to since a moment are looked at, or all."""
    last = await queries.last_no(db)
    return await _compare(db, last + 1, since or EVER)


async def _compare(db: Connection, no: int, since: datetime | None) -> SealCompared:
    async with db.transaction():
        await queries.plan_for_a_moment(db)
        rows = await queries.compare_seal(db, no=no, since=since)
    apart = tuple(Untold(*one[:3]) for one in rows if one["subject"] is not None)
    [count] = [one["postings"] for one in rows if one["subject"] is None]
    return SealCompared(no, count, apart)


async def mark_compared(db: Connection, done: SealCompared) -> bool:
    """Whether nobody else has kept what came of this seal before."""
    no = await queries.mark_compared(db, no=done.no, postings=done.postings, differences=len(done.apart))
    return no is not None
