"""The partitions by time that must be there before their time comes: looked at, and made."""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.db import Pool
from shared.messaging.queries import queries


class Partition(msgspec.Struct, frozen=True):
    """One partition of a table, [begins, ends)."""

    table: str
    partition: str
    begins: datetime
    ends: datetime
    there: bool


class Ahead(msgspec.Struct, frozen=True):
    """What a run found: every partition from the present one on, and how many it made, or a dry run would."""

    dry_run: bool
    made: int
    partitions: list[Partition]


async def make_partitions(pool: Pool, *, dry_run: bool) -> Ahead:
    """Makes what is missing, each table's in one transaction with all the others of its schema; `partitions` is as it was
    before. Two at once: one makes them, the other finds none missing by then."""
    async with pool.acquire() as db:
        if dry_run:
            found = [Partition(*row) for row in await queries.partitions_ahead(db)]
            return Ahead(True, sum(not one.there for one in found), found)
        async with db.transaction():
            found = [Partition(*row) for row in await queries.partitions_ahead(db)]
            made = int(await queries.ensure_partitions(db))
    return Ahead(False, made, found)
