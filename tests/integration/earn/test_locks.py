"""Where those who wait meet those who learn, where bills of one wallet meet, and a refund who looks at a referral: who comes second
waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.earn.domain.acts.referral import First
from services.earn.store import referrals, reviews, waiting
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


async def test_a_refund_that_moves_while_a_referral_is_looked_at_has_it_looked_at_once_more(
    two: tuple[Db, Db],
) -> None:
    """Who looks has read the refunds of before. The row says already that it is to be looked at: that is of the refund before."""
    looking, moving = two
    await moving.execute("SET lock_timeout = '10s'")
    member_id, referrer_id, bill_id = uuid7(), uuid7(), uuid7()
    key = member_id, "shops"
    await referrals.learn(looking, [(member_id, "shops", referrer_id)])
    await referrals.decide(looking, [First(key, "reached", bill_id, datetime.now(UTC), 1, 100, 100)])
    await referrals.mark_for_review(looking, [bill_id])

    async def moves() -> None:
        async with moving.transaction():
            await referrals.mark_for_review(moving, [bill_id])

    async with looking.transaction():
        [one] = await referrals.lock_reviews(looking, [key])
        assert one.bill_id == bill_id
        refund = asyncio.create_task(moves())
        await asyncio.wait({refund}, timeout=0.2)
        await referrals.mark_reviewed(looking, [key])
    await refund
    assert await looking.fetchval("SELECT review FROM referrals WHERE member_id = $1", member_id)
