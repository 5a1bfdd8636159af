"""Two who do something at the same moment, in two processes: at a row that somebody holds until both have come to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import asyncpg

from tests.support.patience import PATIENCE_S

T = TypeVar("T")
P = TypeVar("P")
Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_WAITING = """
SELECT count(DISTINCT l.pid)
FROM pg_locks AS l
JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE NOT l.granted AND a.datname = current_database()
"""


class Gate:
    """A row that is held while others come to it."""

    def __init__(self, holder: Db, watcher: Db) -> None:
        self._holder, self._watcher = holder, watcher

    async def met(self, table: str, where: str, *acts: Awaitable[T]) -> list[T]:
        """What these came to that wait at that row one after the other, in this order, and go on together. One that does not wait
        there has come to something before the next begins."""
        return await self._held(f"SELECT FROM {table} WHERE {where} FOR NO KEY UPDATE", acts)

    async def met_writing(self, table: str, *acts: Awaitable[T]) -> list[T]:
        """The same of acts that write to a table which nobody can write to meanwhile: what each reads before, it has read."""
        return await self._held(f"LOCK TABLE {table} IN SHARE MODE", acts)

    async def _held(self, lock: str, acts: Sequence[Awaitable[T]]) -> list[T]:
        holding = self._holder.transaction()
        await holding.start()
        held = await self._holder.execute(lock)
        assert not held.endswith(" 0"), f"there is no such row: {lock}"
        tasks: list[asyncio.Future[T]] = []
        try:
            for act in acts:
                tasks.append(asyncio.ensure_future(act))
                await self._come(tasks)
        finally:
            await holding.rollback()
        return list(await asyncio.gather(*tasks))

    async def _come(self, tasks: list[asyncio.Future[Any]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not tasks[-1].done() and await self._watcher.fetchval(_WAITING) < sum(
                not task.done() for task in tasks
            ):
                await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Meeting(Generic[P]):
    """Two processes of a service, and the gate at which they meet."""

    first: P
    second: P
    gate: Gate


@asynccontextmanager
async def gate(dsn: str, database: str) -> AsyncIterator[Gate]:
    """A gate of this database; `dsn` is the administrator's."""
    holder, watcher = [await asyncpg.connect(dsn, database=database) for _ in range(2)]
    try:
        yield Gate(holder, watcher)
    finally:
        await holder.close()
        await watcher.close()
