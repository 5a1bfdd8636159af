"""What keeps a tenant's messaging small and whole: positions forward, gaps asked for, streams trimmed, partitions made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from shared.db import Connection, Pool
from shared.messaging.consumer import Consumer
from shared.messaging.faults import missing, passing
from shared.messaging.keys import HEARERS, Keys
from shared.messaging.lowering import after, entry_id, lower
from shared.messaging.queries import queries
from shared.messaging.retries import Retries
from shared.messaging.sizes import StreamBytes
from shared.metrics import Metrics
from shared.tenants.directory import Directory

log = structlog.get_logger(__name__)

TURN_S = 1.0
TRIM_EVERY_S = 5.0
PARTITIONS_EVERY_S = 600.0
KEPT_UNHEARD = 10_000


class Housekeeping:
    """One tenant's, in one service's process. Every turn may run beside another process's: nothing here needs to be alone."""

    def __init__(
        self,
        *,
        pool: Pool,
        redis: Redis,
        keys: Keys,
        service: str,
        heard: Sequence[str],
        consumers: Sequence[Consumer],
        retries: Retries,
        directory: Directory,
        metrics: Metrics,
        sizes: StreamBytes,
    ) -> None:
        self._pool, self._redis, self._keys, self._service = pool, redis, keys, service
        self._heard, self._consumers, self._retries = heard, consumers, retries
        self._directory, self._metrics = directory, metrics
        self._sizes = sizes
        self._reported: dict[str, int] = {}
        self._in_redis = 0
        self._lag_at = self._trimmed_at = self._partitions_at = float("-inf")
        self.turned_at = float("-inf")
        self._began_at = time.monotonic()
        self._failed = ""
        """How the last turn that left something undone failed; empty where none is."""
        self._undone: set[str] = set()
        """What is due every few seconds, and failed when it was last: the turns between, which did not try it, mend nothing."""
        self._stood: Mapping[str, str] | None = None
        """By stream, where groups stood when it was last looked at."""

    def partitions_due(self, every_s: float = PARTITIONS_EVERY_S) -> bool:
        """Whether the partitions by time must be looked at before anything is written."""
        return time.monotonic() - self._partitions_at >= every_s

    async def prepare(self) -> None:
        """Before the first entry: the partitions by time."""
        async with self._pool.acquire() as db:
            await queries.ensure_partitions(db)
        self._partitions_at = time.monotonic()

    async def start_at(self, stream: str) -> str:
        """Where this service's group on a stream begins: at what it has applied, never at the end."""
        async with self._pool.acquire() as db:
            position = await queries.position(db, stream=stream)
        return f"{int(position or 0)}-0"

    def begin(self) -> Coroutine[Any, Any, None]:
        """`run`, also after a rest: how long nothing was done is counted from now, not from when the task has its turn."""
        self._began_at = time.monotonic()
        return self.run()

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                await self._turn_and_say()
                await asyncio.sleep(TURN_S)
        finally:
            await self._retries.end()

    async def _turn_and_say(self) -> None:
        try:
            await self.turn()
            await self._retries.turn()
            if not self._undone:
                self.turned_at, self._failed = time.monotonic(), ""
        except Exception as error:
            self._failed = f": {type(error).__name__}: {error}"[:300]
            where = {"service": self._service, "tenant": self._keys.tenant, "error": repr(error)[:300]}
            if passing(error):
                log.warning("housekeeping failed", **where)
            else:
                self._metrics.failed(self._keys.tenant, error)
                log.error("housekeeping is broken", **where, exc_info=error)

    def trouble(self, *, after_s: float) -> str | None:
        """What keeps its turns from their end, or None: meanwhile nothing is trimmed, counted or tried again."""
        silence = time.monotonic() - max(self.turned_at, self._began_at)
        return f"no turn came to its end for {silence:.0f} s{self._failed}" if silence > after_s else None

    async def turn(self) -> None:
        """Everything that is due, but for retries: they are begun by who runs."""
        # Before it asks for a connection itself: where there is none left, that is what is to be seen.
        in_use = self._pool.get_size() - self._pool.get_idle_size()
        self._metrics.pool_in_use(self._keys.tenant, in_use)
        if time.monotonic() - self._lag_at >= TRIM_EVERY_S:
            self._lag_at = time.monotonic()
            self._undone.add("lag")
            await self._count_lag()
            self._undone.discard("lag")
        for stream in self._heard:
            await self._advance(stream)
        now = time.monotonic()
        if now - self._trimmed_at >= TRIM_EVERY_S:
            self._trimmed_at = now
            self._undone.add("trim")
            await self._trim()
            await self._count()
            await self._sizes.tell()
            self._undone.discard("trim")
        if now - self._partitions_at >= PARTITIONS_EVERY_S:
            self._partitions_at = now
            async with self._pool.acquire() as db:
                await queries.ensure_partitions(db)
                for stream in self._heard:
                    await queries.forget_heard(db, stream=stream)

    async def look(self, standing: Mapping[str, str]) -> None:
        """A turn while nothing is read. Where groups stand as they stood at the look before, nothing was heard since."""
        if self._stood != standing:
            await self.turn()
            self._stood = standing
            return
        await self._trim()
        await self._count()

    # ------------------------------------------------------------ what was heard

    async def _advance(self, stream: str) -> None:
        # The stream first, the position after: what was acknowledged and trimmed by then is applied by then.
        first, top = await self._ends(self._keys.stream(stream))
        async with self._pool.acquire() as db:
            applied = await advance(db, stream)
        if top > applied and (first == 0 or first > applied + 1):
            await self._ask_for(stream, applied + 1)
        if self._reported.get(stream) != applied:
            await self._directory.report(self._keys.tenant, {stream: applied})
            self._reported[stream] = applied

    async def _ends(self, stream: str) -> tuple[int, int]:
        """(n of the first entry, n of the last id), 0 where there is none."""
        try:
            info = await self._redis.xinfo_stream(stream)
        except ResponseError as error:
            if not missing(error):
                raise
            return 0, 0
        first = info["first-entry"]
        return (_n(first[0]) if first else 0), _n(info["last-generated-id"])

    async def _ask_for(self, stream: str, n: int) -> None:
        key = self._keys.refill(stream)
        asked = await self._redis.get(key)
        if asked is None or int(asked) > n:
            log.warning(
                "entries are missing, a refill is asked for", stream=stream, service=self._service, n=n
            )
            await self._redis.set(key, n)

    # ------------------------------------------------------------ what was told

    async def _trim(self) -> None:
        """Drops what every required group has acknowledged; while one of them is missing, nothing."""
        await self._trim_stream(self._keys.stream(self._service), HEARERS[self._service])
        if self._service == "earn":
            await self._trim_stream(self._keys.pos, ("earn",))
            await lower(self._redis, self._keys.pos, "earn")

    async def _trim_stream(self, stream: str, required: Sequence[str]) -> None:
        try:
            groups = {_text(row["name"]): row for row in await self._redis.xinfo_groups(stream)}
        except ResponseError as error:
            if not missing(error):
                raise
            return
        if not required:
            # Nobody must hear it: the last entries stay for people to look at.
            _, top = await self._ends(stream)
            if top > KEPT_UNHEARD:
                await self._redis.xtrim(stream, minid=f"{top - KEPT_UNHEARD}-0", approximate=True)
            return
        if any(group not in groups for group in required):
            return
        edges: list[tuple[int, int]] = []
        for group in required:
            waiting = await self._redis.xpending(stream, group)
            if waiting["pending"]:
                edges.append(entry_id(waiting["min"]))
            elif (end := after(entry_id(groups[group]["last-delivered-id"]))) is not None:
                edges.append(end)
        if edges:
            ms, seq = min(edges)
            await self._redis.xtrim(stream, minid=f"{ms}-{seq}", approximate=False)
        else:  # all was heard up to the highest id there is: nothing can have come since
            await self._redis.xtrim(stream, maxlen=0, approximate=False)

    # ------------------------------------------------------------ counts

    async def _count_lag(self) -> None:
        """What is committed and not in Redis, and what is there and not applied here. First in its turn: while Redis is away, or a
        lock in PostgreSQL keeps the rest from its end, it is what an operator asks for."""
        for consumer in self._consumers:
            lag, pending = await consumer.lag()
            self._metrics.consumer(self._keys.tenant, consumer.label, lag=lag, pending=pending)
        with suppress(RedisError):  # it has at most what it had; what is wrong is told by whoever needs it
            _, self._in_redis = await self._ends(self._keys.stream(self._service))
        async with self._pool.acquire() as db:
            lag = await queries.unpublished(db, published=self._in_redis)
        self._metrics.relay_lag(self._keys.tenant, int(lag["n"]), float(lag["seconds"]))

    async def _count(self) -> None:
        async with self._pool.acquire() as db:
            dead = {row["code"]: row["n"] for row in await queries.open_dead_letters(db)}
        self._metrics.dead_letters(self._keys.tenant, dead)


async def advance(db: Connection, stream: str) -> int:
    """Moves the position on a stream to the end of the contiguous run of the inbox, and gives it.

    Counting and moving are two statements on purpose. In one, with the row locked in a WITH, two processes made PostgreSQL
    18.6 check an UPDATE again over a plan that it could not evaluate: a segmentation fault, and every connection was lost.
    """
    rows = await queries.runs_above(db, stream=stream)
    if not rows:
        return 0
    applied = end = int(rows[0]["applied_through"])
    for row in rows:
        if row["first"] is None or row["first"] > end + 1:
            break
        end = max(end, row["last"])
    if end > applied:
        await queries.move_position(db, stream=stream, through=end)
    return end


def consumer_name(service: str) -> str:
    """Unique for each process and start: a restarted process is another consumer, and reclaims what the last one left."""
    import os
    import socket

    return f"{service}-{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _n(value: Any) -> int:
    return entry_id(value)[0]
