"""One stream as one service hears it: entries become items, the lane writes them, then they are acknowledged.

Reclaiming is a loop of our own: entries of dead consumers, and our own that a broken connection stranded, are claimed in
batches and go the same way. A consumer is dead when it has not spoken to Redis for the lease; leases never decide
correctness, the inbox does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from shared.fairness import FAIRNESS, work_in
from shared.messaging.bus import FIELD, Bus, Entry, Subscription
from shared.messaging.commands import FromPos, FromStream, Refused
from shared.messaging.entries import PosDecoder, StreamDecoder
from shared.messaging.lane import Lane
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

CLAIM = 100
UNNOTICED_S = 0.05
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
        count: int,
        lease_ms: int,
        metrics: Metrics,
        tenant: str,
    ) -> None:
        self.stream, self.label, self.group, self.name = stream, label, group, name
        self._lane, self.decode, self._start_at = lane, decode, start_at
        self._count, self._lease_ms = count, lease_ms
        self._metrics, self._tenant = metrics, tenant
        self._share = FAIRNESS.share(tenant)
        self._holding: set[bytes] = set()
        self._subscription: Subscription | None = None
        self._redis: Redis | None = None
        self.entries = 0

    async def start(self, bus: Bus) -> None:
        """Begins to hear."""
        self._redis = bus.client
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
        except ResponseError:
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
        silence = self._subscription.seconds_since_read if self._subscription else None
        if silence is None:
            return f"{self.label}: not read yet"
        if silence > after_s and not self._holding:
            return f"{self.label}: not read for {silence:.0f} s"
        return None

    async def handle(self, entries: Sequence[Entry], deliveries: Mapping[bytes, int] = _FIRST) -> None:
        """Writes entries and acknowledges them; those that could not be written stay pending and come again.

        `deliveries` says how often an entry has been delivered, where that is not the first time.
        """
        ids = [entry_id for entry_id, _ in entries]
        self._holding.update(ids)
        work_in(self._share)
        try:
            at = 0
            while at < len(entries):
                await FAIRNESS.give_way(self._share)
                step = FAIRNESS.step(self._share, len(entries))
                await self._handle(entries[at : at + step], deliveries)
                at += step
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
            await self._redis.xack(self.stream, self.group, *ids)
            self.entries += len(ids)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.warning("entries stay pending", stream=self.stream, entries=len(ids), error=repr(error)[:300])

    async def reclaim(self) -> int:
        """Takes over what dead consumers, or broken connections of ours, left pending; gives how many entries that was."""
        assert self._redis is not None
        redis: Any = self._redis
        alive = await self._alive(redis)
        if alive is None:
            return 0
        found = await redis.xpending_range(
            self.stream, self.group, "-", "+", CLAIM * 10, idle=min(self._lease_ms, 5_000)
        )
        ids, deliveries = [], {}
        for row in found:
            entry_id, owner = row["message_id"], _text(row["consumer"])
            mine = owner == self.name
            if entry_id in self._holding or (owner in alive and not mine):
                continue
            if not mine and row["time_since_delivered"] < self._lease_ms:
                continue
            ids.append(entry_id)
            deliveries[entry_id] = int(row["times_delivered"]) + 1
            if len(ids) == CLAIM:
                break
        if not ids:
            return 0
        claimed = await redis.xclaim(
            self.stream, self.group, self.name, min_idle_time=min(self._lease_ms, 5_000), message_ids=ids
        )
        present = {entry_id for entry_id, fields in claimed if fields}
        gone = [entry_id for entry_id in ids if entry_id not in present]
        if gone:
            # Claimed by another in between, or deleted from the stream: Redis drops the latter from the list on XCLAIM.
            log.info("entries were not there to claim", stream=self.stream, entries=len(gone))
        work = [(entry_id, fields.get(FIELD)) for entry_id, fields in claimed if fields]
        if work:
            self._metrics.reclaimed(self._tenant, len(work))
            await self.handle(work, deliveries)
        return len(work)

    async def _alive(self, redis: Any) -> set[str] | None:
        """Consumers that have spoken within the lease; None where there is no group (its reader makes it again)."""
        try:
            consumers = await redis.xinfo_consumers(self.stream, self.group)
        except ResponseError:
            return None
        alive = set()
        for row in consumers:
            name, idle = _text(row["name"]), int(row["idle"])
            if idle < self._lease_ms:
                alive.add(name)
            elif int(row["pending"]) == 0 and idle > 10 * self._lease_ms and name != self.name:
                await redis.xgroup_delconsumer(self.stream, self.group, name)
        return alive

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
