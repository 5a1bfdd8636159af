"""The accruals in the ledger, and what earn told of each day."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import msgspec

from services.redeem.domain.accruals import Apart, DayCompared, ToldDay
from services.redeem.store.reconciliation import Found
from shared.db import Connection
from shared.events import AccrualsDayTold, AccrualsOfProgramme
from shared.sql import load
from shared.tally import Tally, add_rows, heard

queries = load("services.redeem.store", "accruals.sql")
_json = msgspec.json.Encoder().encode
_programmes = msgspec.json.Decoder(tuple[AccrualsOfProgramme, ...]).decode


async def hear(db: Connection, said: AccrualsDayTold, *, sequence: int, n: int) -> None:
    """Keeps what earn told of a day; `n` is its place in earn's stream."""
    programmes = _json(said.programmes).decode()
    await queries.hear_day(db, day=said.day, sequence=sequence, n=n, programmes=programmes)


async def days_to_compare(db: Connection) -> list[ToldDay]:
    """The days that can be compared now and have to be, the oldest first."""
    return [
        ToldDay(row["day"], row["sequence"], heard(_programmes(row["programmes"])))
        for row in await queries.days_to_compare(db)
    ]


async def count(db: Connection, tallies: dict[str, Tally], first: UUID, below: UUID) -> None:
    """Adds the accruals that the ledger has with ids from `first` on, below `below`, by programme."""
    add_rows(tallies, await queries.count_posted(db, first=first, below=below))


async def newest_telling(db: Connection, day: date) -> int | None:
    """The sequence of the newest telling of a day, as far as it was told by now."""
    sequence: int | None = await queries.newest_telling(db, day=day)
    return sequence


async def mark_compared(db: Connection, day: date, sequence: int) -> None:
    """Notes that the ledger was held against this telling of a day."""
    await queries.mark_compared(db, day=day, sequence=sequence)


def found(day: DayCompared, one: Apart) -> Found:
    """A programme that does not agree, as a difference."""
    return Found("accruals", f"accruals/{day.day}/{one.programme}", str(one.told), str(one.posted))
