"""A stream in which somebody took an id of no time is set back, once all in it was heard."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import ResponseError

from shared.config import Settings
from shared.messaging.bus import redis_client
from shared.messaging.keys import Keys
from shared.messaging.lowering import BEGINNING, HIGHEST, NO_TIME_MS, after, lower
from shared.messaging.watch import stands_at
from shared.tenants import Tenant
from tests.support.tenants import running


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Any]:
    client = redis_client(settings.redis_url)
    yield client
    await client.aclose()


LAST = f"{HIGHEST}-{HIGHEST}"


@pytest.mark.parametrize(
    ("entry_id", "following"),
    [((5, 7), (5, 8)), ((5, HIGHEST), (6, 0)), ((HIGHEST, 0), (HIGHEST, 1)), ((HIGHEST, HIGHEST), None)],
)
def test_there_is_an_id_after_each_but_the_highest(
    entry_id: tuple[int, int], following: tuple[int, int] | None
) -> None:
    assert after(entry_id) == following


async def hear(redis: Any, stream: str) -> list[str]:
    """Reads all that is new and has done with it."""
    answer = await redis.xreadgroup("earn", "one", {stream: ">"}, count=99)
    ids = [entry_id for _, entries in answer for entry_id, _ in entries]
    for entry_id in ids:
        await redis.xack(stream, "earn", entry_id)
    return [entry_id.decode() for entry_id in ids]


async def test_a_full_stream_takes_entries_again_once_all_in_it_was_heard_and_each_is_heard_once(
    settings: Settings, tenant: Tenant, redis: Any
) -> None:
    pos = Keys(settings.cell, tenant.code).pos
    await redis.delete(pos)
    async with running(settings, tenant, "earn", {}) as service:
        await redis.xgroup_create(pos, "earn", id="0", mkstream=True)
        first = (await redis.xadd(pos, {"event": "a"})).decode()
        await redis.xadd(pos, {"event": "x"}, id=LAST)
        for unheard in ([first, LAST], []):
            with pytest.raises(ResponseError, match="exhausted"):
                await redis.xadd(pos, {"event": "b"})
            assert await stands_at(redis, pos, "earn") == ("0-0" if unheard else None)
            await service.housekeeping._trim()
            if unheard:
                assert await hear(redis, pos) == unheard
        second = (await redis.xadd(pos, {"event": "b"})).decode()
        assert second > first
        assert await hear(redis, pos) == [second]
        assert await stands_at(redis, pos, "earn") == second


async def test_what_is_of_a_time_or_not_empty_stays_and_who_died_in_between_is_gone_on_with(
    redis: Any,
) -> None:
    pos = f"pb:{{test}}:{secrets.token_hex(4)}"
    assert not await lower(redis, pos, "earn")
    await redis.xgroup_create(pos, "earn", id="0", mkstream=True)
    await redis.xadd(pos, {"event": "a"}, id=f"{NO_TIME_MS - 1}-{HIGHEST}")
    await redis.xtrim(pos, maxlen=0, approximate=False)
    assert not await lower(redis, pos, "earn")
    await redis.xadd(pos, {"event": "x"}, id=f"{NO_TIME_MS}-0")
    assert not await lower(redis, pos, "earn"), "it has an entry"
    await hear(redis, pos)
    await redis.xtrim(pos, maxlen=0, approximate=False)
    await redis.xgroup_setid(pos, "earn", BEGINNING)
    assert await lower(redis, pos, "earn")
    assert (await redis.xinfo_stream(pos))["last-generated-id"] == BEGINNING.encode()
    entry_id = (await redis.xadd(pos, {"event": "a"})).decode()
    assert await hear(redis, pos) == [entry_id]
