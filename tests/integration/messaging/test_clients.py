"""What a process keeps open to Redis."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError

from pointbank.embedded import binaries, valkey
from pointbank.embedded.process import Keeper, lock_folder
from shared.config import Settings
from shared.messaging.clients import close_unused, redis_client
from tests.soak.wire import Wire
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


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[valkey.Valkey, valkey.Valkey]]:
    """Two servers, each a primary."""
    keeper = Keeper(lock_folder(tmp_path))
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(valkey.prepare(binaries.valkey(), tmp_path / name, password="of both", keeper=keeper))
    try:
        for one in made:
            one.start()
        yield made[0], made[1]
    finally:
        for one in made:
            one.kill()
        keeper.close()


@pytest.mark.parametrize("how", ["a command", "a pipeline", "a script"])
async def test_a_primary_that_is_one_no_more_is_left_for_whoever_has_its_name(
    pair: tuple[valkey.Valkey, valkey.Valkey], how: str
) -> None:
    """A failover that breaks no connection, as a managed service or `FAILOVER` does it: the old primary answers on."""
    first, second = pair
    with Wire(first.port).running() as wire:
        client: Any = redis_client(first.url.replace(str(first.port), str(wire.port)))
        async with client, Redis.from_url(first.url) as administrator, Redis.from_url(second.url) as promoted:

            async def write() -> None:
                if how == "a command":
                    await client.rpush("told", "x")
                elif how == "a script":
                    await client.eval("return redis.call('RPUSH', KEYS[1], ARGV[1])", 1, "told", "x")
                else:
                    async with client.pipeline(transaction=False) as pipe:
                        for _ in range(3):
                            pipe.rpush("told", "x")
                        await pipe.execute()

            await write()
            await administrator.replicaof("127.0.0.1", second.port)
            wire._there = second.port
            try:
                await write()
            except ReadOnlyError:
                await write()  # who asks again asks the new one
            assert set(await promoted.lrange("told", 0, -1)) == {b"x"}
