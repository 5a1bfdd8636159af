"""Closing months: snapshots of what each lot held, and the lines that happened in another month."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from services.redeem.domain.months import month_after, next_to_close
from shared.db import Connection
from shared.sql import load

queries = load("services.redeem.store", "closing.sql")


class Progress(NamedTuple):
    """How far a month has come: wallets up to `through` are done, so many."""

    through: UUID
    wallets: int
    closed: bool


async def due(db: Connection) -> datetime | None:
    """The end of the month that is to be closed next; None while none is."""
    found = await queries.next_closing(db)
    first = datetime.strptime(found["first"], "%Y%m").replace(tzinfo=UTC)
    return next_to_close(first, found["closed"], found["clock"])


async def newest(db: Connection) -> int:
    """A transaction id above those of all that is running."""
    found: int = await queries.newest(db)
    return found


async def oldest_running(db: Connection) -> int:
    """A transaction id below which everything has ended."""
    found: int = await queries.oldest_running(db)
    return found


async def lock(db: Connection, as_of: datetime) -> Progress:
    """A month's progress, locked until the end of the transaction."""
    await queries.begin_closing(db, as_of=as_of)
    return Progress(*await queries.lock_closing(db, as_of=as_of))


async def close_wallets(db: Connection, begins: datetime, so_far: Progress, *, most: int) -> Progress:
    """Closes the month for the next wallets; it is closed when there were fewer than `most`."""
    as_of = month_after(begins)
    done = await queries.close_wallets(db, begins=begins, as_of=as_of, through=so_far.through, most=most)
    progress = Progress(
        done["through"] or so_far.through, so_far.wallets + done["wallets"], done["wallets"] < most
    )
    await queries.move_closing(
        db, as_of=as_of, through=progress.through, wallets=progress.wallets, closed=progress.closed
    )
    return progress
