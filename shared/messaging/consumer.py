"""One stream as one service hears it: entries become items, the lane writes them, then they are acknowledged.

Reclaiming is a loop of our own: entries of dead consumers, and our own that a broken connection stranded, are claimed in
batches and go the same way. A consumer is dead when it has not spoken to Redis for the lease. One that writes a batch reads
nothing meanwhile: where that takes long it says that it lives (lease.py), so that the lease may be shorter than a batch. Leases
never decide correctness, the inbox does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from shared.fairness import FAIRNESS, work_in
from shared.messaging.bus import FIELD, Bus, Entry, Subscription
from shared.messaging.commands import FromPos, FromStream, Refused
from shared.messaging.entries import PosDecoder, StreamDecoder
from shared.messaging.faults import missing
from shared.messaging.lane import Lane
from shared.messaging.lease import Lease
from shared.messaging.taken_over import TakenOver
from shared.messaging.watch import stands_at
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

CLAIM = 100
AT_MOST = 10_000
"""More than a consumer can be handed between two of our commands."""
STRANDED_MS = 5_000
"""Our own entries that nobody here holds are taken up again after this, or after the lease."""
UNNOTICED_S = 0.05
ASK_EVERY_S = 0.5
GETS_NOWHERE_S = 30.0
"""Who has been at one step of a batch for so long is left to the lease though it lives: it may be the only one that can't reach
PostgreSQL. Three times the longest statement."""
NOTHING = "18446744073709551615-0"
"""After the last entry that a consumer can have in its name: reading its own from there gives none, and says that it lives."""
_FIRST: Mapping[bytes, int] = {}


class Consumer:
    """Hears one stream for one tenant until it is stopped."""

    def __init__(
        self,
        *,
        stream: str,
        label: str,
        group: str,
        name: str,
        lane: Lane,
        decode: StreamDecoder | PosDecoder,
        start_at: Callable[[], Any],
        may_begin: Callable[[], Awaitable[bool]] | None = None,
        count: int,
        lease_ms: int,
        metrics: Metrics,
        tenant: str,
    ) -> None:
        self.stream, self.label, self.group, self.name = stream, label, group, name
        self._lane, self.decode, self._start_at, self._may_begin = lane, decode, start_at, may_begin
        self._count, self._lease_ms = count, lease_ms
        self._metrics, self._tenant = metrics, tenant
        self._share = FAIRNESS.share(tenant)
        self._stranded_ms = min(lease_ms, STRANDED_MS)
        self._lease = Lease(lease_ms / 1000, self._say_alive, at_most_s=GETS_NOWHERE_S)
        self._holding: set[bytes] = set()
        self.taken_over = TakenOver()
        self._subscription: Subscription | None = None
        self._redis: Redis | None = None
        self._holding_back: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._refused: str | None = None
        """How Redis refused, the last time, to tell what others left, or to give it."""
        self.entries = 0

    async def start(self, bus: Bus) -> None:
        """Begins to hear: at once, or as soon as it may."""
        self._redis, self._subscription, self._refused = bus.client, None, None
        self._stopping.clear()
        # A counter that is born with its first entries says nothing of them: only what comes after is an increase.
        self._metrics.reclaimed(self._tenant, 0)
        self._metrics.acknowledged(self._tenant, 0)
        if self._may_begin is None or await self._may_begin():
            await self._subscribe(bus)
        else:
            self._holding_back = asyncio.create_task(self._subscribe_later(bus, self._may_begin))

    async def stands_at(self, bus: Bus) -> str | None:
        """Where its group stands, while it does not read; None where it must: the group is missing, or holds something."""
        self._redis = bus.client
        return await stands_at(self._redis, self.stream, self.group)

    async def may_begin(self) -> bool:
        """Whether it would begin at once."""
        return self._may_begin is None or await self._may_begin()

    @property
    def held_back(self) -> bool:
        """Whether it reads nothing yet, because it may not begin."""
        return self._holding_back is not None and not self._holding_back.done()

    async def _subscribe_later(self, bus: Bus, may_begin: Callable[[], Awaitable[bool]]) -> None:
        while not self._stopping.is_set():
            if await may_begin():
                await self._subscribe(bus)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_EVERY_S):
                    await self._stopping.wait()

    async def _subscribe(self, bus: Bus) -> None:
        self._subscription = await bus.subscribe(
            self.stream,
            group=self.group,
            consumer=self.name,
            count=self._count,
            start_at=self._start_at,
            on_entries=self.handle,
        )

    async def stop(self) -> None:
        """Hears no more, and finishes all that Redis has handed it."""
        self._stopping.set()
        if self._holding_back is not None:
            await asyncio.wait([self._holding_back])
        if self._subscription is not None:
            await self._subscription.stop()
            try:
                while await self._finish():
                    pass
                # The read that was given up may be served once more before Redis notices that nobody is there.
                await asyncio.sleep(UNNOTICED_S)
                while await self._finish():
                    pass
            except RedisError as error:
                log.warning("entries are left to others", stream=self.stream, error=str(error)[:300])

    async def _finish(self) -> bool:
        """A read that was cut short may have brought entries that nobody saw: they are pending in our name. True when some
        were done now."""
        assert self._redis is not None
        redis: Any = self._redis
        try:
            rows = await redis.xpending_range(
                self.stream, self.group, "-", "+", self._count, consumername=self.name
            )
        except ResponseError as error:
            if not missing(error):
                raise
            return False  # no group, and so nothing in our name
        left = {row["message_id"]: int(row["times_delivered"]) + 1 for row in rows}
        ids = [entry_id for entry_id in left if entry_id not in self._holding]
        if not ids:
            return False
        claimed = await redis.xclaim(self.stream, self.group, self.name, min_idle_time=0, message_ids=ids)
        before = self.entries
        await self.handle([(entry_id, fields.get(FIELD)) for entry_id, fields in claimed if fields], left)
        return self.entries > before

    def trouble(self, *, after_s: float) -> str | None:
        """What is wrong with the reading, or None."""
        if self.held_back:
            return f"{self.label}: not heard until its relay has compared it with PostgreSQL as it is now"
        silence = self._subscription.seconds_since_read if self._subscription else None
        why = self._subscription.error if self._subscription else None
        because = f": {why}" if why else ""
        if silence is None:
            return f"{self.label}: not read yet{because}"
        if silence > after_s and not self._holding:
            return f"{self.label}: not read for {silence:.0f} s{because}"
        if self._refused is not None:
            return f"{self.label}: what others left is not taken over: {self._refused}"
        return None

    @property
    def begins(self) -> bool:
        """Whether it has not read yet."""
        return self.held_back or self._subscription is None or self._subscription.seconds_since_read is None

    async def handle(self, entries: Sequence[Entry], deliveries: Mapping[bytes, int] = _FIRST) -> None:
        """Writes entries and acknowledges them; those that could not be written stay pending and come again.

        `deliveries` says how often an entry has been delivered, where that is not the first time.
        """
        ids = [entry_id for entry_id, _ in entries]
        self._holding.update(ids)
        work_in(self._share)
        try:
            at = 0
            with self._lease.held() as went_on:
                while at < len(entries):
                    await FAIRNESS.give_way(self._share)
                    step = FAIRNESS.step(self._share, len(entries))
                    await self._handle(entries[at : at + step], deliveries)
                    at += step
                    went_on()
        finally:
            self._holding.difference_update(ids)

    async def _handle(self, entries: Sequence[Entry], deliveries: Mapping[bytes, int]) -> None:
        assert self._redis is not None
        ids = [entry_id for entry_id, _ in entries]
        try:
            items, left, foreign = self.decode.read(entries, deliveries)
            if foreign:
                log.error("foreign entries are passed over", stream=self.stream, entries=foreign)
            outcomes = await self._lane.submit_many(items, left)
            unwanted = [
                item.origin.entry_id
                for item, outcome in zip(items, outcomes, strict=True)
                if type(outcome) is Refused
                and outcome.refusal.code == "payment_card_number"
                and isinstance(item.origin, FromStream | FromPos)
            ]
            if unwanted:
                await self._redis.xdel(self.stream, *unwanted)
            await self._acknowledge(ids)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.warning("entries stay pending", stream=self.stream, entries=len(ids), error=repr(error)[:300])

    async def _acknowledge(self, ids: Sequence[bytes]) -> None:
        assert self._redis is not None
        await self._redis.xack(self.stream, self.group, *ids)
        self.entries += len(ids)
        self._metrics.acknowledged(self._tenant, len(ids))

    async def reclaim(self) -> int:
        """Takes over what dead consumers, or broken connections of ours, left pending; gives how many entries that was."""
        try:
            taken = await self._take_over()
        except ResponseError as error:
            self._refused = f"{type(error).__name__}: {error}"[:300]
            raise
        self._refused = None
        return taken

    async def _take_over(self) -> int:
        assert self._redis is not None
        if self.held_back:
            return 0
        redis: Any = self._redis
        deliveries = await self._left_behind(redis)
        if not deliveries:
            return 0
        ids = list(deliveries)
        claimed = await redis.xclaim(
            self.stream, self.group, self.name, min_idle_time=self._stranded_ms, message_ids=ids
        )
        present = {entry_id for entry_id, fields in claimed if fields}
        gone = [entry_id for entry_id in ids if entry_id not in present]
        if gone:
            # Claimed by another in between, or deleted from the stream: Redis drops the latter from the list on XCLAIM.
            log.info("entries were not there to claim", stream=self.stream, entries=len(gone))
        work = [(entry_id, fields.get(FIELD)) for entry_id, fields in claimed if fields]
        if work:
            self._metrics.reclaimed(self._tenant, len(work))
            await self.taken_over.take(self.handle(work, deliveries))
        return len(work)

    async def _left_behind(self, redis: Any) -> dict[bytes, int]:
        """Up to CLAIM entries that nobody works on, and how often each will have been delivered: those of consumers that have
        not spoken within the lease, and of our own those that nobody here holds."""
        found: dict[bytes, int] = {}
        for name in await self._to_look_at(redis):
            mine = name == self.name
            rows = await redis.xpending_range(
                self.stream,
                self.group,
                "-",
                "+",
                CLAIM + len(self._holding),
                consumername=name,
                idle=self._stranded_ms if mine else self._lease_ms,
            )
            for row in rows:
                if row["message_id"] not in self._holding:
                    found[row["message_id"]] = int(row["times_delivered"]) + 1
                if len(found) == CLAIM:
                    return found
        return found

    async def _to_look_at(self, redis: Any) -> list[str]:
        """Ourselves and consumers that have not spoken within the lease, where something is pending in their names; none where
        there is no group (its reader makes it again)."""
        try:
            consumers = await redis.xinfo_consumers(self.stream, self.group)
        except ResponseError as error:
            if not missing(error):
                raise
            return []
        found = []
        for row in consumers:
            name, idle, pending = _text(row["name"]), int(row["idle"]), int(row["pending"])
            if pending and (name == self.name or idle >= self._lease_ms):
                found.append(name)
            elif not pending and idle > 10 * self._lease_ms and name != self.name:
                await self._forget(redis, name)
        return found

    async def _forget(self, redis: Any, name: str) -> None:
        """Takes a consumer off the group that has had nothing for long. One that comes back at this very moment, as from a rest,
        may have been handed entries meanwhile: they would be pending nowhere, and lost if it dies. So they are ours."""
        async with redis.pipeline(transaction=True) as pipe:
            pipe.xpending_range(self.stream, self.group, "-", "+", AT_MOST, consumername=name)
            pipe.xgroup_delconsumer(self.stream, self.group, name)
            rows, _ = await pipe.execute()
        if ids := [row["message_id"] for row in rows]:
            await redis.xclaim(
                self.stream, self.group, self.name, min_idle_time=0, message_ids=ids, force=True, justid=True
            )

    async def _say_alive(self) -> None:
        """To Redis, as any read in our name does. Past FastStream's reading: how long ago that was is its own."""
        redis: Any = self._redis
        words = ("GROUP", self.group, self.name, "COUNT", 1, "STREAMS", self.stream, NOTHING)
        await redis.execute_command("XREADGROUP", *words)

    async def lag(self) -> tuple[int, int]:
        """(entries not read yet, entries read and not acknowledged), for the metrics; no evidence of anything."""
        assert self._redis is not None
        try:
            for row in await self._redis.xinfo_groups(self.stream):
                if _text(row["name"]) == self.group:
                    return int(row.get("lag") or 0), int(row["pending"])
        except RedisError:
            pass
        return 0, 0


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
