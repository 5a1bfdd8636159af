"""The few compare-and-set places of Redis, one by one: what differs in any of them changes nothing."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.config import Settings
from shared.messaging.bus import redis_client
from shared.messaging.scripts import PUBLISH, RESET, VOUCH
from shared.tenants import Tenant
from tests.support.tenants import running

Entry = tuple[bytes, dict[bytes, bytes]]


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Any]:
    client = redis_client(settings.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def keys() -> list[str]:
    """A stream and its head."""
    name = f"pb:{{test}}:{secrets.token_hex(4)}"
    return [name, f"{name}:head"]


HERE = "this PostgreSQL"


async def publish(
    redis: Any, keys: list[str], first: int, before: str, after: str, *payloads: str, of: str = HERE
) -> bool:
    return bool((await redis.eval(PUBLISH, 2, *keys, first, before, after, of, *payloads))[0] == 1)


async def state(redis: Any, keys: list[str]) -> tuple[list[Entry], dict[bytes, bytes]]:
    return await redis.xrange(keys[0]), await redis.hgetall(keys[1])


async def test_events_follow_only_where_stream_head_and_hash_are_as_they_were_before(
    redis: Any, keys: list[str]
) -> None:
    assert await publish(redis, keys, 1, "h0", "h2", "a", "b")
    stands = await state(redis, keys)
    assert stands[1] == {b"n": b"2", b"hash": b"h2", b"copy_of": HERE.encode()}
    for first, before in ((1, "h0"), (2, "h2"), (4, "h2"), (3, "h1")):
        assert not await publish(redis, keys, first, before, "h3", "c"), (first, before)
    assert await state(redis, keys) == stands
    assert await publish(redis, keys, 3, "h2", "h3", "c")

    # Somebody adds an entry of their own, or takes the head away: nothing follows until it was mended.
    await redis.xadd(keys[0], {"event": "foreign"}, id="4-0")
    assert not await publish(redis, keys, 4, "h3", "h4", "d")
    assert not await publish(redis, keys, 5, "h3", "h4", "d")
    await redis.delete(keys[1])
    assert not await publish(redis, keys, 1, "", "h1", "a")


async def test_a_stream_is_emptied_only_as_it_was_judged(redis: Any, keys: list[str]) -> None:
    assert await publish(redis, keys, 1, "h0", "h2", "a", "b")
    stands = await state(redis, keys)
    for seen in (("1", "2", "h2"), ("2", "1", "h2"), ("2", "2", "h1")):
        assert await redis.eval(RESET, 2, *keys, *seen, "0", "h0", HERE) == 0
        assert await state(redis, keys) == stands
    assert await redis.eval(RESET, 2, *keys, "2", "2", "h2", "1", "h1", HERE) == 1
    assert await state(redis, keys) == ([], {b"n": b"1", b"hash": b"h1", b"copy_of": HERE.encode()})
    assert await publish(redis, keys, 2, "h1", "h2", "b")


async def test_only_the_postgresql_that_was_compared_says_what_follows(redis: Any, keys: list[str]) -> None:
    assert await publish(redis, keys, 1, "h0", "h1", "a")
    stands = await state(redis, keys)
    assert not await publish(redis, keys, 2, "h1", "h2", "b", of="another")
    for seen in (("1", "h0"), ("2", "h1")):
        assert await redis.eval(VOUCH, 1, keys[1], *seen, "another") == 0, "it is not what was compared"
    assert await state(redis, keys) == stands
    assert await redis.eval(VOUCH, 1, keys[1], "1", "h1", "another") == 1
    assert not await publish(redis, keys, 2, "h1", "h2", "b"), "who was paused meanwhile compares first"
    assert await publish(redis, keys, 2, "h1", "h2", "b", of="another")
    # A head that a release before this one wrote says nothing, and stops nobody.
    await redis.hdel(keys[1], "copy_of")
    assert await publish(redis, keys, 3, "h2", "h3", "c")
    assert (await state(redis, keys))[1][b"copy_of"] == HERE.encode()


async def test_a_stream_that_never_had_an_entry_keeps_its_groups_when_it_is_begun(
    redis: Any, keys: list[str]
) -> None:
    await redis.xgroup_create(keys[0], "hearers", id="0", mkstream=True)
    assert await redis.eval(RESET, 2, *keys, "0", "", "", "0", "h0", HERE) == 1
    assert [group["name"] for group in await redis.xinfo_groups(keys[0])] == [b"hearers"]
    assert await publish(redis, keys, 1, "h0", "h1", "a")


async def test_only_what_every_group_has_done_is_trimmed(
    settings: Settings, tenant: Tenant, redis: Any, keys: list[str]
) -> None:
    stream = keys[0]
    ids = ["5-0", "5-1", "5-2", "9-0"]
    for entry_id in ids:
        await redis.xadd(stream, {"event": "x"}, id=entry_id)
    for group in ("quick", "slow"):
        await redis.xgroup_create(stream, group, id="0")

    async def read(group: str, count: int) -> None:
        await redis.xreadgroup(group, "one", {stream: ">"}, count=count)

    async with running(settings, tenant, "members", {}) as service:

        async def left() -> list[str]:
            await service.housekeeping._trim_stream(stream, ("quick", "slow"))
            return [entry_id.decode() for entry_id, _ in await redis.xrange(stream)]

        await read("quick", 4)
        await redis.xack(stream, "quick", *ids)
        assert await left() == ids, "the slow one has read nothing"
        await read("slow", 2)
        await redis.xack(stream, "slow", "5-1")
        assert await left() == ids, "the first is being worked on"
        await redis.xack(stream, "slow", "5-0")
        # The next is of the same millisecond, and nobody has read it.
        assert await left() == ids[2:]
        await read("slow", 9)
        await redis.xack(stream, "slow", *ids)
        assert await left() == []
