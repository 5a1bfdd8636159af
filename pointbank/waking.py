"""Asking the running services to look at a tenant at once: a command has left them something to do in its database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.config import Settings
from shared.messaging.bus import redis_client
from shared.messaging.watch import hint

AGAIN_S = 10.0
"""Who was asked stays awake for longer than this."""


async def ask_to_wake(settings: Settings, tenant: str) -> None:
    """Asks once. Where Redis is away nobody is asked: they look by themselves some minutes later."""
    redis = redis_client(settings.redis_url, connections=1)
    try:
        await _ask(redis, settings.cell, tenant)
    finally:
        await redis.aclose()


@asynccontextmanager
async def kept_awake(redis: Redis, cell: str, tenant: str) -> AsyncIterator[None]:
    """The services stay awake for this tenant for as long as the block runs, and a moment after it."""

    ended = asyncio.Event()

    async def ask() -> None:
        # Told that it ends, not cancelled: a client that connects at that very moment swallows a cancellation.
        while not ended.is_set():
            await _ask(redis, cell, tenant)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), AGAIN_S)

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        ended.set()
        await asking
        await _ask(redis, cell, tenant)


async def _ask(redis: Redis, cell: str, tenant: str) -> None:
    with suppress(RedisError, OSError):
        await hint(redis, cell, [tenant])
