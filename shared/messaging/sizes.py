"""How much of Redis a tenant's streams take, as Redis counts it, told beside the budget that the tenant has."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from shared.messaging.keys import Keys
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

EVERY_S = 15.0
AT_ONCE = 200
"""So many out streams are asked about in a turn; a tenant may have a till more for each of its shops."""
SAMPLES = 5


class StreamBytes:
    """Of one tenant, the streams of one service: its own; for earn what tills offer, for notifier what subscribers are told."""

    def __init__(
        self, redis: Redis, keys: Keys, service: str, metrics: Metrics, *, budget_bytes: int
    ) -> None:
        self._redis, self._keys, self._service = redis, keys, service
        self._metrics, self._budget_bytes = metrics, budget_bytes
        self._own = {"service": keys.stream(service)} | ({"pos": keys.pos} if service == "earn" else {})
        self._out: dict[str, int] = {}
        """Bytes of each out stream when it was last asked about; who has waited longest comes first."""
        self._asked_at = float("-inf")
        self._refused = False

    def wrote(self, out: Iterable[str]) -> None:
        """Subscribers were told something on these streams: from now on they count."""
        for stream in out:
            self._out.setdefault(stream, 0)

    async def tell(self) -> None:
        """Asks Redis, every EVERY_S at most. Where its users may not ask, that is logged once, and nothing is told."""
        now = time.monotonic()
        if now - self._asked_at < EVERY_S:
            return
        self._asked_at = now
        try:
            found = await self._ask()
        except NoPermissionError as error:
            if not self._refused:
                log.warning(
                    "Redis does not tell how large streams are: its users are those of an older release",
                    service=self._service,
                    tenant=self._keys.tenant,
                    error=str(error)[:300],
                )
            self._refused = True
            return
        self._refused = False
        self._metrics.stream_bytes(self._keys.tenant, found, budget=self._budget_bytes)

    async def _ask(self) -> dict[str, int]:
        own = await self._bytes_of([*self._own.values()])
        found = {kind: size or 0 for kind, size in zip(self._own, own, strict=True)}
        if self._service == "notifier":
            await self._ask_out()
            found["out"] = sum(self._out.values())
        return found

    async def _ask_out(self) -> None:
        due = [*islice(self._out, AT_ONCE)]
        for stream, size in zip(due, await self._bytes_of(due), strict=True):
            del self._out[stream]
            if size is not None:  # else somebody dropped it; it counts again once something is written to it
                self._out[stream] = size

    async def _bytes_of(self, streams: Sequence[str]) -> list[int | None]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for stream in streams:
                pipe.memory_usage(stream, samples=SAMPLES)
            sizes: list[int | None] = await pipe.execute()
        return sizes
