"""What is told of the accruals of a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from shared.db import Connection
from shared.events import AccrualsOfProgramme
from shared.sql import load
from shared.tally import Tally, add_rows

queries = load("services.earn.store", "days.sql")
_json = msgspec.json.Encoder().encode


async def clock(db: Connection) -> datetime:
    """PostgreSQL's clock."""
    now: datetime = await queries.clock(db)
    return now


async def last_told(db: Connection) -> date | None:
    """The last day that was told."""
    day: date | None = await queries.last_told(db)
    return day


async def first_accrual(db: Connection) -> UUID | None:
    """The id of the first accrual that there is."""
    accrual_id: UUID | None = await queries.first_accrual(db)
    return accrual_id


async def count(db: Connection, tallies: dict[str, Tally], first: UUID, below: UUID) -> None:
    """Adds the accruals with ids from `first` on, below `below`, by programme."""
    add_rows(tallies, await queries.count_accruals(db, first=first, below=below))


async def keep(db: Connection, day: date, programmes: Sequence[AccrualsOfProgramme]) -> int | None:
    """Keeps what is told of a day; gives its sequence, None where there is nothing new to tell."""
    sequence: int | None = await queries.keep_day(db, day=day, programmes=_json(programmes).decode())
    return sequence
