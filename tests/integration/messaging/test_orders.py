"""Locks are taken in one order, whatever order things come in: who waits holds nothing that comes later."""

import asyncio
from typing import TypeAlias

import asyncpg

from shared.config import Settings
from shared.tenants import Tenant
from tests.support.patience import PATIENCE_S
from tests.support.tenants import connect_as

Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def claim(db: Db, *keys: str) -> list[str]:
    n = len(keys)
    rows = await db.fetch(
        "SELECT key FROM claim_keys($1::text[], $2::text[], $3::text[], $4::bytea[])",
        ["till"] * n, ["/v1/x"] * n, list(keys), [b"h"] * n,
    )  # fmt: skip
    return [row["key"] for row in rows]


async def test_who_waits_for_a_key_has_claimed_none_that_comes_after_it(
    settings: Settings, tenant: Tenant
) -> None:
    first, second, third = [await connect_as(settings, tenant, "earn") for _ in range(3)]
    try:
        holding = first.transaction()
        await holding.start()
        assert await claim(first, "a") == ["a"]
        waiting = asyncio.create_task(claim(second, "b", "a"))
        blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = $1"
        async with asyncio.timeout(PATIENCE_S):
            while not await third.fetchval(blocked, second.get_server_pid()):
                await asyncio.sleep(0.01)
        await third.execute("SET lock_timeout = '2s'")
        assert await claim(third, "b") == ["b"]
        await holding.rollback()
        assert await waiting == ["a"]
    finally:
        for db in (first, second, third):
            await db.close()
