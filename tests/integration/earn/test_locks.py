"""Where those who wait meet those who learn, and where bills of one wallet meet: who comes second waits."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.earn.store import reviews, waiting
from shared.config import Settings
from shared.ids import uuid7
from shared.tenants import Tenant
from tests.support.tenants import connect_as

Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def two(settings: Settings, tenant: Tenant) -> AsyncIterator[tuple[Db, Db]]:
    """Two processes' connections; the second one waits for a lock no longer than a moment."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            found.append(await connect_as(settings, tenant, "earn"))
            stack.push_async_callback(found[-1].close)
        await found[1].execute("SET lock_timeout = '200ms'")
        yield found[0], found[1]


async def excludes(two: tuple[Db, Db], lock: Callable[[Any], Awaitable[Any]]) -> None:
    first, second = two
    async with first.transaction():
        await lock(first)
        with pytest.raises(asyncpg.LockNotAvailableError):
            async with second.transaction():
                await lock(second)
    async with second.transaction():
        await lock(second)


async def test_who_waits_and_who_learns_are_never_there_at_once(two: tuple[Db, Db]) -> None:
    async def meet(db: Any) -> None:
        await waiting.lock_awaited(db, {("member", "x")})

    await excludes(two, meet)  # nobody was there before
    await excludes(two, meet)  # the row is there already


async def test_bills_of_one_wallet_are_judged_one_after_the_other(two: tuple[Db, Db]) -> None:
    wallet_id = uuid7()
    await two[0].execute(
        "INSERT INTO wallets (wallet_id, member_id, programme) VALUES ($1, $1, 'shops')", wallet_id
    )
    await excludes(two, lambda db: reviews.lock(db, [wallet_id], []))
