"""Clients of Redis: commands written our way, and pools that shrink again after a burst."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ReadOnlyError

PIECE = 64
"""Arguments that are written together: events of a piece stay below the size from which memory is asked of the kernel."""


class _Packing:
    """A connection's way to write a command: redis-py's joins each argument to all before it, up to 6,000 bytes of them. And it
    leaves a server that takes no writes."""

    used_at = float("-inf")

    async def read_response(self, *args: Any, **more: Any) -> Any:
        try:
            return await super().read_response(*args, **more)  # type: ignore[misc]
        except ReadOnlyError:
            # It was the primary, and keeps us connected. Its name may be another's by now: who connects anew is told.
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise

    def pack_command(self, *args: Any) -> list[bytes]:
        self.used_at = time.monotonic()
        encode = self.encoder.encode  # type: ignore[attr-defined]
        name, *rest = args
        words = [*encode(name).split(), *[one if type(one) is bytes else encode(one) for one in rest]]
        packed = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        return [
            b"*%d\r\n" % len(words),
            *[b"".join(packed[k : k + PIECE]) for k in range(0, len(packed), PIECE)],
        ]


def packing(pool: ConnectionPool) -> ConnectionPool:
    """The pool, whose connections write our way."""
    pool.connection_class = type("Packing", (_Packing, pool.connection_class), {})
    return pool


def redis_client(url: str, *, connections: int = 64) -> Redis:
    """A client whose calls fail within seconds when Redis is away: redis-py 8 would try for fourteen."""
    client = Redis.from_url(
        url,
        max_connections=connections,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
        health_check_interval=15,
        socket_keepalive=True,
        socket_connect_timeout=2,
    )
    packing(client.connection_pool)
    return client


async def close_unused(client: Redis, *, idle_s: float) -> int:
    """Closes a client's connections that nobody used for so long, and gives how many: redis-py's pools never shrink. It has no
    public way to it, so its version is pinned and tests/integration/messaging/test_clients.py holds what this relies on."""
    free: list[Any] = client.connection_pool._available_connections  # noqa: SLF001
    since = time.monotonic() - idle_s
    unused = [one for one in free if one.used_at <= since]
    for one in unused:
        free.remove(one)  # before anything is awaited: nobody takes one that is being closed
    for one in unused:
        await one.disconnect(nowait=True)
    return len(unused)
