"""What a look at a tenant at rest costs, and whom it keeps waiting: nobody."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from shared.config import Settings
from shared.jobs import Job
from shared.messaging.keys import Keys
from shared.runtime import Blueprint, TenantRuntime
from shared.tenants import Tenant
from tests.support.patience import PATIENCE_S
from tests.support.serving import hearer, only_tenant, own_directory, resting, serving, speaker, until
from tests.support.speaking import Ears, Say, say

LOOKS = 5


@pytest.fixture
async def own(settings: Settings) -> Settings:
    """A directory of this test's own, whose tenants rest soon and are looked at seldom."""
    return await own_directory(settings, rest_after_s=0.2, look_every_s=600.0)


@pytest.fixture
async def alone(own: Settings) -> Tenant:
    """Its only tenant."""
    return await only_tenant(own)


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Any]:
    client = Redis.from_url(settings.redis_url)
    yield client
    await client.aclose()


async def sessions(settings: Settings, tenant: Tenant) -> int:
    """How many sessions there have been in its database, with the one that asks."""
    admin = await asyncpg.connect(settings.postgres_dsn, database=tenant.database)
    try:
        await admin.execute("SELECT pg_stat_force_next_flush()")
        return int(
            await admin.fetchval("SELECT sessions FROM pg_stat_database WHERE datname = $1", tenant.database)
        )
    finally:
        await admin.close()


async def test_a_look_needs_one_connection_and_no_reader(own: Settings, alone: Tenant, redis: Any) -> None:
    looks: list[TenantRuntime] = []

    async def count(runtime: TenantRuntime) -> None:
        looks.append(runtime)

    async with serving(own, speaker()) as earn:
        async with serving(own, hearer(Ears())) as before:
            await until(lambda: resting(earn, alone) and resting(before, alone))
        stream = Keys(own.cell, alone.code).stream("earn")
        readers = await redis.xinfo_consumers(stream, "redeem")
        earlier = await sessions(own, alone)
        async with serving(own, hearer(Ears(), jobs=[Job("count", 0.0, count)])) as redeem:
            for turn in range(1, LOOKS + 1):
                await until(lambda: len(looks) == turn and not redeem._tending._looking)  # noqa: B023
                redeem._tending._look_at[alone.code] = 0.0
            assert resting(redeem, alone)
    now = await redis.xinfo_consumers(stream, "redeem")
    assert [one["name"] for one in now] == [one["name"] for one in readers]
    assert await sessions(own, alone) - earlier == LOOKS + 1, "one for each look, and ours"


async def test_a_job_of_a_look_keeps_nobody_waiting_and_is_begun_again(own: Settings, alone: Tenant) -> None:
    begun: list[bool] = []
    ended: list[bool] = []

    async def takes_long(runtime: TenantRuntime) -> None:
        begun.append(runtime.resting)
        if len(begun) == 1:
            await asyncio.Event().wait()
        ended.append(True)

    blueprint = Blueprint("earn", {Say: say}, (), jobs=(Job("long", 60.0, takes_long),))
    async with serving(own, blueprint) as earn:
        await until(lambda: begun == [True])
        earn.tenant(alone.code)  # as a call does
        await until(lambda: ended == [True])
        assert begun == [True, False]


async def test_a_service_at_rest_has_one_connection_to_redis_after_a_burst_too(
    own: Settings, alone: Tenant, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.service.UNUSED_S", 0.5)
    name = f"test-{secrets.token_hex(4)}"
    named = own.model_copy(update={"redis_url": f"{own.redis_url}?client_name={name}"})

    async def opened() -> list[str]:
        return [one["cmd"] for one in await redis.client_list() if one["name"] == name]

    async with serving(named, speaker()) as earn:
        await until(lambda: resting(earn, alone))
        client: Any = earn._redis
        burst = [asyncio.create_task(client.blpop([f"{name}:all"], timeout=PATIENCE_S)) for _ in range(20)]
        async with asyncio.timeout(PATIENCE_S):
            while (await opened()).count("blpop") != 20:
                await asyncio.sleep(0.02)
        await redis.rpush(f"{name}:all", *["here"] * 20)
        await asyncio.gather(*burst)
        async with asyncio.timeout(PATIENCE_S):
            while await opened() != ["xread"]:
                await asyncio.sleep(0.05)
