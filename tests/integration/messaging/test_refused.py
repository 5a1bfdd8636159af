"""What Redis refuses, and no later try changes: it is said where an operator looks, and is no "there is none"."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from shared.config import Settings
from shared.events import MessageDelivered
from shared.messaging.bus import Bus, Entry, redis_client
from shared.messaging.keys import Keys
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.patience import PATIENCE_S
from tests.support.speaking import Ears, Say, by_job, eventually, say
from tests.support.tenants import running


@asynccontextmanager
async def administrator(settings: Settings) -> AsyncIterator[Any]:
    async with redis_client(settings.redis_url) as redis:
        yield redis


@asynccontextmanager
async def as_one_who_may_not(settings: Settings, command: str) -> AsyncIterator[Settings]:
    """Settings whose user at Redis may do everything else, as that of an older release."""
    name, password = f"t{secrets.token_hex(4)}", secrets.token_hex(8)
    async with administrator(settings) as redis:
        rules = ("on", f">{password}", "~*", "&*", "+@all", f"-{command}")
        await redis.execute_command("ACL SETUSER", name, *rules)
        try:
            address = urlsplit(settings.redis_url).netloc.rpartition("@")[2]
            yield settings.model_copy(update={"redis_url": f"redis://{name}:{password}@{address}/0"})
        finally:
            await redis.execute_command("ACL DELUSER", name)


def wrong(runtime: TenantRuntime) -> dict[str, str]:
    """What /readyz says of it that is not well."""
    return {check.name: check.detail for check in runtime.checks() if not check.ok}


async def test_a_stream_that_is_no_stream_is_named_by_who_should_hear_it(
    settings: Settings, tenant: Tenant
) -> None:
    ears = Ears()
    stream = Keys(tenant.cell, tenant.code).stream("earn")
    async with administrator(settings) as redis:
        await redis.set(stream, "no stream")
        async with running(
            settings, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)
        ) as hearer:
            await eventually(lambda: "WRONGTYPE" in wrong(hearer).get(f"consumer:{tenant.code}:earn", ""))
            await redis.delete(stream)
            async with running(settings, tenant, "earn", {Say: say}) as service:
                await service.lane.submit(by_job(Say("heard")))
                await eventually(lambda: ears.heard == [1])
            assert f"consumer:{tenant.code}:earn" not in wrong(hearer)


async def test_who_may_not_look_for_what_others_left_says_so(settings: Settings, tenant: Tenant) -> None:
    async with (
        as_one_who_may_not(settings, "xinfo|consumers") as narrow,
        running(narrow, tenant, "redeem", {MessageDelivered: Ears().hear}, hears=("earn",)) as hearer,
    ):
        name = f"consumer:{tenant.code}:earn"
        await eventually(lambda: "not taken over" in wrong(hearer).get(name, ""))
        assert "NoPermissionError" in wrong(hearer)[name]


@pytest.mark.parametrize("command", ["xinfo|stream", "xinfo|groups"], ids=["each turn", "some turns"])
async def test_housekeeping_that_redis_refuses_a_part_of_is_told_whichever_turn_meets_it(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """`XINFO STREAM` is asked by each turn: who may not see where a stream ends does not take it for empty."""
    monkeypatch.setattr("shared.runtime.HOUSEKEEPING_S", 3.0)
    async with (
        as_one_who_may_not(settings, command) as narrow,
        running(narrow, tenant, "redeem", {MessageDelivered: Ears().hear}, hears=("earn",)) as hearer,
    ):
        name = f"housekeeping:{tenant.code}"
        await eventually(lambda: name in wrong(hearer))
        assert "NoPermissionError" in wrong(hearer)[name]


async def test_who_begins_again_after_an_hour_is_not_told_as_one_that_did_nothing_for_it(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(
        settings, tenant, "redeem", {MessageDelivered: Ears().hear}, hears=("earn",)
    ) as hearer:
        await eventually(lambda: wrong(hearer) == {})
        assert await hearer.rest() is not None
        an_hour_ago = time.monotonic() - 3_600
        hearer.housekeeping.turned_at = hearer.housekeeping._began_at = an_hour_ago
        await hearer.start()
        # Before any task of it had its turn.
        assert f"housekeeping:{tenant.code}" not in wrong(hearer)


async def test_a_lost_group_is_made_once_postgresql_can_say_where_it_begins(settings: Settings) -> None:
    """Redis refuses at first, and when it does no more PostgreSQL is just coming up."""
    stream = f"pb:{{main}}:t{secrets.token_hex(4)}:members"
    asked, heard = 0, list[bytes]()

    async def start_at() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise asyncpg.CannotConnectNowError("the database system is starting up")
        return "0-0"

    async def hear(entries: list[Entry]) -> None:
        heard.extend(entry_id for entry_id, _ in entries)

    bus = Bus(settings.redis_url, connections=8)
    async with administrator(settings) as redis:
        await redis.set(stream, "no stream")
        await bus.start()
        subscription = await bus.subscribe(
            stream, group="hearer", consumer="one", count=10, start_at=start_at, on_entries=hear
        )
        try:
            assert "WRONGTYPE" in (subscription.error or "")
            await redis.delete(stream)
            await redis.xadd(stream, {"event": "e"}, id="1-0")
            await eventually(lambda: heard == [b"1-0"])
            assert asked == 2
            assert subscription.error is None
        finally:
            await subscription.stop()
            await bus.stop()


async def test_who_comes_back_as_it_is_taken_off_its_group_leaves_what_it_was_handed_to_be_found(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent for ten leases, as at rest; handed an entry between the look at it and its end; dead before it has written it."""
    monkeypatch.setattr("shared.runtime.RECLAIM_EVERY_S", 3600.0)
    ears = Ears()
    short = settings.model_copy(update={"reclaim_idle_ms": 50})
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(short, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)) as hearer,
        administrator(settings) as redis,
    ):
        stream = service.keys.stream("earn")
        [consumer] = hearer.consumers
        await eventually(lambda: consumer.trouble(after_s=30) is None)
        await redis.xgroup_createconsumer(stream, "redeem", "back again")
        assert consumer._subscription is not None
        await consumer._subscription.stop()
        await service.lane.submit(by_job(Say("handed")))
        async with asyncio.timeout(PATIENCE_S):
            while await redis.xlen(stream) < 1 or await idle(redis, stream, "back again") <= 500:
                await asyncio.sleep(0.02)
        look = hearer.bus.client.xinfo_consumers

        async def look_and_be_late(*names: Any) -> Any:
            seen = await look(*names)
            await redis.xreadgroup("redeem", "back again", {stream: ">"}, count=10)
            return seen

        monkeypatch.setattr(hearer.bus.client, "xinfo_consumers", look_and_be_late)
        await consumer.reclaim()
        monkeypatch.undo()
        assert [row["name"] for row in await redis.xinfo_consumers(stream, "redeem")] == [
            consumer.name.encode()
        ]
        async with asyncio.timeout(PATIENCE_S):
            while not ears.heard:
                await consumer.reclaim()
                await asyncio.sleep(0.02)
        assert ears.heard == [1]
        assert (await redis.xpending(stream, "redeem"))["pending"] == 0


async def idle(redis: Any, stream: str, name: str) -> int:
    """How long a consumer has been silent, in milliseconds."""
    [found] = [row for row in await redis.xinfo_consumers(stream, "redeem") if row["name"] == name.encode()]
    return int(found["idle"])
