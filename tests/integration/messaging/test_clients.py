"""What a process keeps open to Redis."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from shared.config import Settings
from shared.messaging.clients import close_unused, redis_client
from tests.support.patience import PATIENCE_S

BURST = 12
APART_S = 0.5


class Named:
    """A client of ours, and what Redis has open for it."""

    def __init__(self, url: str) -> None:
        self.name = f"test-{secrets.token_hex(4)}"
        self.client: Any = redis_client(f"{url}?client_name={self.name}")
        self.looker: Any = Redis.from_url(url)

    async def open(self) -> list[str]:
        """The last command of each of its connections."""
        return [one["cmd"] for one in await self.looker.client_list() if one["name"] == self.name]

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(await self.open()) != count:
                await asyncio.sleep(0.02)

    async def burst(self) -> None:
        """Calls that are answered together, when each has a connection of its own."""
        waiting = [
            asyncio.create_task(self.client.blpop([f"{self.name}:all"], timeout=PATIENCE_S))
            for _ in range(BURST)
        ]
        async with asyncio.timeout(PATIENCE_S):
            while (await self.open()).count("blpop") != BURST:
                await asyncio.sleep(0.02)
        await self.looker.rpush(f"{self.name}:all", *["here"] * BURST)
        await asyncio.gather(*waiting)


@asynccontextmanager
async def named(settings: Settings) -> AsyncIterator[Named]:
    one = Named(settings.redis_url)
    try:
        yield one
    finally:
        await one.client.aclose()
        await one.looker.aclose()


async def test_what_a_burst_opened_is_closed_when_nobody_has_used_it_for_a_while(settings: Settings) -> None:
    async with named(settings) as one:
        await one.burst()
        assert len(await one.open()) == BURST
        assert await close_unused(one.client, idle_s=60.0) == 0, "they were used a moment ago"
        burst_ended = time.monotonic()
        await asyncio.sleep(2 * APART_S)
        await one.client.ping()
        idle_s = time.monotonic() - burst_ended - APART_S
        assert await close_unused(one.client, idle_s=idle_s) == BURST - 1
        await one.until_open(1)
        await one.burst()
        assert len(await one.open()) == BURST, "the next burst has as many again"


async def test_what_is_in_use_is_not_closed(settings: Settings) -> None:
    async with named(settings) as one:
        key = f"{one.name}:waited-for"
        waiting = asyncio.create_task(one.client.blpop([key], timeout=0))
        async with asyncio.timeout(PATIENCE_S):
            while await one.open() != ["blpop"]:
                await asyncio.sleep(0.02)
        assert await close_unused(one.client, idle_s=0.0) == 0
        await one.looker.rpush(key, "here")
        assert await waiting == (key.encode(), b"here")
