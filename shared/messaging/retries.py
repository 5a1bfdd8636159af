"""Dead letters that an operator asked to try again: each goes its own way, and none stands behind another that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog

from shared.db import Pool
from shared.ending import end
from shared.messaging.bus import FIELD
from shared.messaging.commands import FromDeadLetter, FromPos, FromStream, Item
from shared.messaging.entries import PosDecoder, StreamDecoder
from shared.messaging.faults import passing
from shared.messaging.lane import Lane
from shared.messaging.queries import queries
from shared.messaging.sealer import Sealer
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

AT_ONCE = 100
UNDER_WAY = 500
"""So many may wait in the lane at once; each keeps its entry, a megabyte at most, in memory."""
AGAIN_S = 60.0
"""One that can't be handed to the lane is looked at again after so long."""


class Retries:
    """One tenant's, in one service's process. Another process may try the same: the first that writes takes it."""

    def __init__(
        self,
        *,
        pool: Pool,
        lane: Lane,
        sealer: Sealer,
        decoders: Mapping[str, StreamDecoder | PosDecoder],
        metrics: Metrics,
        tenant: str,
    ) -> None:
        self._pool, self._lane, self._sealer, self._decoders = pool, lane, sealer, decoders
        self._metrics, self._tenant = metrics, tenant
        self._under_way: dict[UUID, asyncio.Task[None]] = {}

    async def turn(self) -> None:
        """Begins what is asked for and is not under way; waits for none of it."""
        most = min(AT_ONCE, UNDER_WAY - len(self._under_way))
        async with self._pool.acquire() as db:
            rows = await queries.asked_retries(db, under_way=list(self._under_way), most=most)
        for row in rows:
            self._begin(row["dead_letter_id"], row)

    async def end(self) -> None:
        """What is under way is the next process's."""
        await end(self._under_way.values())

    def _begin(self, dead_letter_id: UUID, row: Any) -> None:
        task = asyncio.create_task(self._try(row), name=f"retry {dead_letter_id}")
        self._under_way[dead_letter_id] = task
        task.add_done_callback(lambda _: self._under_way.pop(dead_letter_id))

    async def _try(self, row: Any) -> None:
        try:
            await self._lane.submit(self._item(row))
        except Exception as error:
            self._say(error, str(row["dead_letter_id"]))
            await asyncio.sleep(AGAIN_S)

    def _item(self, row: Any) -> Item[Any]:
        decode = self._decoders.get(row["stream"])
        if decode is None:
            raise LookupError(f"the stream {row['stream']} is not heard here")
        item = decode(row["entry_id"], {FIELD: self._sealer.open(row["payload"])}, 1)
        assert item is not None  # only entries of ours become dead letters
        assert isinstance(item.origin, FromStream | FromPos)
        item.origin = FromDeadLetter(str(row["dead_letter_id"]), item.origin)
        return item

    def _say(self, error: Exception, dead_letter_id: str) -> None:
        what = "a dead letter can't be tried again"
        where = {"tenant": self._tenant, "dead_letter_id": dead_letter_id, "error": repr(error)[:300]}
        if passing(error):
            log.warning(what, **where)
        else:
            self._metrics.failed(self._tenant, error)
            log.error(what, **where, exc_info=error)
