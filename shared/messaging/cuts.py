"""The rows of a cut, read once from the first to the last, however many have piled up.

While Redis is away, or a relay is halted, nothing is cut: then one cut has all of hours. Rows are found by transaction and told by
id, and each look for the next page would read all of them again (docs/decisions/0324).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from shared.db import Connection, Pool
from shared.messaging.queries import queries
from shared.silence import be_patient

PAGE = 500
ID_BYTES = 16
AT_ONCE = 5_000
"""A cut of more events holds its connection for so long that it takes turns with those of other tenants."""
PATIENCE_MS = 600_000
"""The `statement_timeout` of who reads what has piled up."""


class Lacking(Exception):
    """The outbox has not the rows of a cut: somebody changed it."""


@asynccontextmanager
async def patient(pool: Pool, turns: asyncio.Semaphore | None = None) -> AsyncIterator[Connection]:
    """A transaction whose statements may take long; `turns`: whose turn it must be first, before a connection is asked for."""
    async with turns or nullcontext(), pool.acquire() as db, db.transaction():
        be_patient(db, statement_timeout_ms=PATIENCE_MS)
        await queries.be_patient(db, patience_ms=str(PATIENCE_MS))
        yield db


class Rows:
    """A cut's, a page at a time: `ids`, and then what its events say."""

    def __init__(self, db: Connection, cut: Any, cursor: Any) -> None:
        self._db, self._no, self._n, self._cursor = db, cut["no"], cut["n"], cursor
        self._page: Sequence[Any] = ()
        self._payloads: Sequence[bytes] = ()

    async def ids(self) -> bytes:
        """The event ids of the next page, 16 bytes each. Raises Lacking after the last, and of a cut of one page before anything of
        it is given."""
        if self._cursor is None:
            page = await queries.cut_page(self._db, no=self._no)
            ids, self._payloads = page["ids"] or b"", page["payloads"] or ()
            if len(ids) != ID_BYTES * self._n:
                raise Lacking(f"cut {self._no} lacks its rows: the outbox was changed")
        else:
            self._page = await self._cursor.fetch(PAGE)
            ids = b"".join(row["event_id"].bytes for row in self._page)
        if not ids:
            raise Lacking(f"cut {self._no} lacks its rows: the outbox was changed")
        return ids

    async def payloads(self, *, skip: int) -> Sequence[bytes]:
        """What the page's events say, but for so many at its beginning."""
        if self._cursor is None:
            return self._payloads[skip:]
        rows = self._page[skip:]
        xids = list({row["xid"] for row in rows})
        found: Sequence[bytes] | None = await queries.payloads_of(
            self._db, xids=xids, ids=[row["id"] for row in rows]
        )
        if found is None or len(found) != len(rows):
            raise Lacking(f"cut {self._no} lacks its rows: the outbox was changed")
        return found


@asynccontextmanager
async def reading(pool: Pool, cut: Any, turns: asyncio.Semaphore | None) -> AsyncIterator[Rows]:
    """Reads a cut: one of a page by one query, a larger one by a cursor, in a transaction that lasts as long, and a large one in
    its turn."""
    if cut["n"] <= PAGE:
        async with pool.acquire() as db:
            yield Rows(db, cut, None)
        return
    async with patient(pool, turns if cut["n"] > AT_ONCE else None) as db:
        yield Rows(db, cut, await db.cursor(queries.texts()["cut_rows"], cut["no"]))
