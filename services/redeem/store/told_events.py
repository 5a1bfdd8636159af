"""The postings of each seal, and what the events tell of them."""

from __future__ import annotations

from services.redeem.domain.reconciliation import SealCompared, Untold
from shared.db import Connection
from shared.sql import load

queries = load("services.redeem", "told_events.sql")


async def compare_next(db: Connection, after: int) -> SealCompared | None:
    """The first seal after this one that was not compared yet, compared; None where there is none."""
    row = await queries.next_seal(db, after=after)
    if row is None:
        return None
    rows = await queries.compare_seal(db, no=row["no"])
    apart = tuple(Untold(*one[:3]) for one in rows if one["subject"] is not None)
    [count] = [one["postings"] for one in rows if one["subject"] is None]
    return SealCompared(row["no"], count, apart)


async def mark_compared(db: Connection, done: SealCompared) -> bool:
    """Whether nobody else has kept what came of this seal before."""
    no = await queries.mark_compared(db, no=done.no, postings=done.postings, differences=len(done.apart))
    return no is not None
