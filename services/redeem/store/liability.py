"""What is owed to members, read in one snapshot: the transaction is its caller's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import Any

from services.redeem.domain.adjusting import OccurredInFuture
from services.redeem.domain.liability import Owed, moment_of, owed
from services.redeem.store.sql import liability
from shared.db import Connection
from shared.errors import ProgrammeUnknown
from shared.silence import be_patient

PAGE = 5_000
"""Wallets in memory at a time."""

Befores = dict[str, datetime | None]
"""Programme -> the moment before which it counts."""


async def plan_for_all(db: Connection, *, patience_ms: int) -> None:
    """A service's connection reads by keys and briefly; this transaction reads everything, within so long."""
    be_patient(db, statement_timeout_ms=patience_ms)
    await liability.plan_for_all(db, patience_ms=str(patience_ms))


async def befores_of(db: Connection, *, programme: str | None, at: datetime | date | None) -> Befores:
    """Of each programme that was ever active, or of one. Refuses programme_unknown; occurred_in_future where the moment is still
    to come, by the clock by which lines are written: what counts before it is not all written yet."""
    now = await liability.clock(db)
    rows = await liability.programmes(db, programme=programme)
    if not rows and programme is not None:
        raise ProgrammeUnknown(
            f"There is no programme {programme} that was ever active.", pointer="/programme"
        )
    befores = {row["programme"]: moment_of(at, row["time_zone"]) for row in rows}
    for row in rows:
        before = befores[row["programme"]]
        if before is not None and before > now:
            raise _still_to_come(at, row["programme"], row["time_zone"])
    return befores


def _still_to_come(at: datetime | date | None, programme: str, time_zone: str) -> OccurredInFuture:
    """A day is its beginning, which comes to one programme before it comes to another."""
    if isinstance(at, datetime):
        return OccurredInFuture(f"{at} is still to come. Name an earlier moment.", pointer="/at")
    where = f"where {programme} lives ({time_zone})"
    return OccurredInFuture(f"{at} has not begun yet {where}. Name an earlier day.", pointer="/at")


async def owed_of(db: Connection, befores: Befores) -> list[Owed]:
    """What the lines that were written before then come to, by programme."""
    now = await liability.clock(db)
    rows = await liability.owed(db, programmes=list(befores), befores=list(befores.values()))
    return [owed(row, now) for row in rows]


async def wallets_of(db: Connection, befores: Befores) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
    """The same of each wallet that has or owes points, a page at a time."""
    cursor = await db.cursor(liability.texts()["wallets"], list(befores), list(befores.values()))
    while page := await cursor.fetch(PAGE):
        yield [(*row, row["available"] + row["held"] + row["reserved"]) for row in page]
