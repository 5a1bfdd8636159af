"""What our reading of streams relies on in FastStream and redis-py, whose own loop would stop, spin or begin at the end."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.config import Settings
from shared.messaging.bus import Bus, Entry, Subscription, redis_client
from tests.support.patience import PATIENCE_S

GROUP = "hearer"


class Heard:
    """What came, by id, acknowledged as it came."""

    def __init__(self, redis: Redis, stream: str) -> None:
        self.ids: list[str] = []
        self._redis, self._stream = redis, stream

    async def __call__(self, entries: list[Entry]) -> None:
        self.ids += [entry_id.decode() for entry_id, _ in entries]
        await self._redis.xack(self._stream, GROUP, *[entry_id for entry_id, _ in entries])


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Any]:
    client = redis_client(settings.redis_url)
    yield client
    await client.aclose()


@asynccontextmanager
async def hearing(
    settings: Settings, redis: Any, stream: str, *, at: str = "0-0"
) -> AsyncIterator[tuple[Heard, Subscription]]:
    """A subscription whose service stands at `at`."""

    async def start_at() -> str:
        return at

    bus = Bus(settings.redis_url, connections=8)
    await bus.start()
    heard = Heard(redis, stream)
    subscription = await bus.subscribe(
        stream, group=GROUP, consumer="one", count=10, start_at=start_at, on_entries=heard
    )
    try:
        yield heard, subscription
    finally:
        await subscription.stop()
        await bus.stop()


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.02)


def new_stream() -> str:
    return f"pb:{{main}}:t{secrets.token_hex(4)}:members"


def test_the_version_whose_inside_we_touch_is_the_one_that_is_installed() -> None:
    assert version("faststream") == "0.7.8"


async def test_a_group_begins_where_its_service_stands_and_never_at_the_end(
    settings: Settings, redis: Any
) -> None:
    stream = new_stream()
    for n in (1, 2, 3):
        await redis.xadd(stream, {"event": "e"}, id=f"{n}-0")
    async with hearing(settings, redis, stream, at="1-0") as (heard, _):
        await eventually(lambda: heard.ids == ["2-0", "3-0"])


async def test_a_read_copies_no_description_of_its_stream(settings: Settings, redis: Any) -> None:
    async with hearing(settings, redis, new_stream()) as (_, subscription):
        subscriber = subscription._subscriber
        assert subscriber.stream_sub is subscriber.stream_sub


async def test_a_group_that_is_lost_is_made_again_where_its_service_stands(
    settings: Settings, redis: Any
) -> None:
    stream = new_stream()
    async with hearing(settings, redis, stream, at="1-0") as (heard, _):
        await redis.xadd(stream, {"event": "e"}, id="2-0")
        await eventually(lambda: heard.ids == ["2-0"])
        await redis.xgroup_destroy(stream, GROUP)
        await redis.xadd(stream, {"event": "e"}, id="3-0")
        # Heard again from where the service stands: the inbox, not the group, knows what was applied.
        await eventually(lambda: heard.ids == ["2-0", "2-0", "3-0"])
        await redis.delete(stream)
        await redis.xadd(stream, {"event": "e"}, id="4-0")
        await eventually(lambda: heard.ids[-1] == "4-0")


async def test_connections_that_are_cut_are_survived(settings: Settings, redis: Any) -> None:
    stream = new_stream()
    async with hearing(settings, redis, stream) as (heard, _):
        for n in (1, 2, 3):
            await redis.client_kill_filter(_type="normal", skipme=True)
            await redis.xadd(stream, {"event": "e"}, id=f"{n}-0")
            expected = [f"{k}-0" for k in range(1, n + 1)]
            await eventually(lambda expected=expected: heard.ids == expected)  # type: ignore[misc]


async def test_a_redis_that_answers_with_errors_is_asked_again_without_a_spin(
    settings: Settings, redis: Any
) -> None:
    stream = new_stream()
    async with hearing(settings, redis, stream) as (heard, subscription):
        await eventually(lambda: subscription.seconds_since_read is not None)
        await redis.delete(stream)
        await redis.set(stream, "no stream")
        before = await commands(redis)
        await asyncio.sleep(1.5)
        assert await commands(redis) - before < 60
        assert (subscription.seconds_since_read or 0) > 1.0
        await redis.delete(stream)
        await redis.xadd(stream, {"event": "e"}, id="1-0")
        await eventually(lambda: heard.ids == ["1-0"])


async def commands(redis: Any) -> int:
    """How many times Redis was asked for entries."""
    return int((await redis.info("commandstats")).get("cmdstat_xreadgroup", {"calls": 0})["calls"])
