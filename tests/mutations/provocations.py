"""What the guards are for: each of these is harmless while they are there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from shared.db import Connection, connect, database_of
from shared.messaging.keys import Keys
from tests.support.patience import PATIENCE_S
from tests.support.processes import Fleet
from tests.support.town import Town, Trade

_BLOCKED = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
)
"""Whether somebody waits for what this connection holds."""


@asynccontextmanager
async def administrator(town: Town) -> AsyncIterator[Connection]:
    """Somebody who can make the database slow."""
    db = await connect(town.settings.admin_dsn(), database=database_of(town.tenant))
    try:
        yield db
    finally:
        await db.close()


@asynccontextmanager
async def late_commits(town: Town, service: str) -> AsyncIterator[None]:
    """Within, a transaction of this service that answers calls takes its time at the commit: its events have ids by then."""
    async with administrator(town) as db:
        await db.execute(
            f"""
            CREATE FUNCTION {service}.dawdle() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_catalog.pg_sleep(0.05); RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON {service}.idempotency DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION {service}.dawdle();
            """
        )
        try:
            yield
        finally:
            await db.execute(
                f"DROP TRIGGER dawdle ON {service}.idempotency; DROP FUNCTION {service}.dawdle()"
            )


async def ring_up(town: Town, trade: Trade, count: int) -> None:
    """So many bills, each answered."""
    await trade.till.offer([town.offer(bill) for bill in town.bills(count)], timeout_s=PATIENCE_S)
    await trade.till.wait(settled=True, timeout_s=PATIENCE_S)


async def redeem(town: Town, trade: Trade, *, times: int, points: int = 1) -> list[int]:
    """So many redemptions from one wallet, eight at a time; gives the statuses of their answers."""
    richest = town.cards[await _richest(town)]
    gate = asyncio.Semaphore(8)

    async def one() -> int:
        async with gate:
            return (await trade.call(town.redemption(richest, points))).status

    return await asyncio.gather(*[one() for _ in range(times)])


async def die_holding_entries(fleet: Fleet, town: Town) -> None:
    """All processes die while the bank holds entries that it could not write yet; then they are started again."""
    async with town.open() as trade, administrator(town) as db, _redis(town) as redis:
        stream = Keys(town.settings.cell, town.tenant).stream("earn")
        async with db.transaction():
            await db.execute("LOCK TABLE redeem.postings IN ACCESS EXCLUSIVE MODE")
            before = await _delivered(redis, stream, "redeem")
            await ring_up(town, trade, 60)
            while await _delivered(redis, stream, "redeem") == before:
                await asyncio.sleep(0.05)
            while not await db.fetchval(_BLOCKED):
                await asyncio.sleep(0.05)
            for name in fleet.replicas:
                fleet.kill(name)
        for name in list(fleet.replicas):
            await asyncio.to_thread(fleet.start, name)
        await asyncio.to_thread(fleet.wait_ready, town.tenant)


async def commit_late(fleet: Fleet, town: Town) -> None:
    """Bills over HTTP that take their time, between bills of the stream that do not."""
    async with town.open() as trade, late_commits(town, "earn"), asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(_post(town, trade, 20))
        for _ in range(20):
            await ring_up(town, trade, 10)


async def _post(town: Town, trade: Trade, count: int) -> None:
    for bill in town.bills(count):
        assert (await trade.call(town.post(bill))).status == 201


async def deliver_again(fleet: Fleet, town: Town) -> None:
    """What tiers has heard of the bank comes once more."""
    stream = Keys(town.settings.cell, town.tenant).stream("redeem")
    again = 0
    async with town.open() as trade, _redis(town) as redis:
        while again < 30:
            await ring_up(town, trade, 20)
            await _until_read(redis, stream, "tiers")
            again += await redis.xlen(stream)
            await redis.xgroup_setid(stream, "tiers", "0")
        await _until_read(redis, stream, "tiers")


async def spend_at_once(fleet: Fleet, town: Town) -> None:
    """One wallet, spent from by both processes at the same time."""
    async with town.open() as trade:
        await ring_up(town, trade, 60)
        await town.settled()
        async with late_commits(town, "redeem"):
            assert set(await redeem(town, trade, times=40)) == {201}


async def spend_too_much(town: Town) -> int:
    """More than a wallet has; gives the status of the answer."""
    async with town.open() as trade:
        await ring_up(town, trade, 60)
        await town.settled()
        [status] = await redeem(town, trade, times=1, points=500_000)
        return status


async def _richest(town: Town) -> int:
    async with administrator(town) as db:
        found = await db.fetchval(
            "SELECT wallet_id::text FROM redeem.wallets ORDER BY available DESC LIMIT 1"
        )
    return next(place for place, card in enumerate(town.cards) if card.wallet_id == found)


@asynccontextmanager
async def _redis(town: Town) -> AsyncIterator[Any]:
    redis = Redis.from_url(town.settings.redis_url)
    try:
        yield redis
    finally:
        await redis.aclose()


async def _delivered(redis: Any, stream: str, group: str) -> str:
    """Up to which entry a group was given the stream."""
    found: list[str] = [
        row["last-delivered-id"] for row in await redis.xinfo_groups(stream) if row["name"].decode() == group
    ]
    return found[0]


async def _until_read(redis: Any, stream: str, group: str) -> None:
    """Returns when the group was given all there is, and nothing more came for a moment."""
    deadline = time.monotonic() + PATIENCE_S
    before = None
    while True:
        delivered, info = await _delivered(redis, stream, group), await redis.xinfo_stream(stream)
        if delivered == info["last-generated-id"] == before:
            return
        before = info["last-generated-id"]
        assert time.monotonic() < deadline, (stream, group, delivered, info["last-generated-id"])
        await asyncio.sleep(0.3)
