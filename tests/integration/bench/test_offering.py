"""The bench offers entries to a real server and knows when each is answered."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bench.pipe import packed, send
from pointbank import embedded
from shared.ids import uuid7


@pytest.fixture
async def redis(servers: embedded.Servers) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers.redis_url) as client:
        yield client


async def test_it_goes_on_when_every_entry_is_in_the_stream(redis: Redis) -> None:
    key = f"bench:{uuid7()}"
    await send(redis, packed(key, [b"x" * 1000] * 500), 500)
    assert await redis.xlen(key) == 500
    await send(redis, packed(key, [b"y"]), 1)  # the connection is whole: no answer was left in it
    assert await redis.xlen(key) == 501
    await redis.delete(key)


async def test_an_entry_that_is_refused_is_an_error(redis: Redis) -> None:
    key = f"bench:{uuid7()}"
    await redis.set(key, "no stream")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await send(redis, packed(key, [b"x"]), 1)
    await redis.delete(key)
