"""As shipped: what a process has in hand when it dies, or stands still, another writes within ten seconds; who is slow keeps it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.config import Settings
from shared.db import connect, database_of
from shared.messaging.keys import Keys
from shared.tenants.provision import dsn_for
from tests.soak.arena import Arena, running_arena
from tests.soak.bounds import TAKE_OVER_S
from tests.soak.points import arm
from tests.support.telling import Tell
from tests.support.town import Town, Trade, found_town, leave

pytestmark = pytest.mark.soak

LEASE_S = Settings().reclaim_idle_ms / 1000


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    with running_arena() as made:
        yield made


def administrator(arena: Arena) -> Any:
    """A connection to Redis, past the wire."""
    return Redis.from_url(arena.world.valkey.url)


async def booked_after(town: Town, trade: Trade) -> float:
    """Seconds until a bill that is posted now has its points in the ledger."""
    began = time.monotonic()
    bill = next(bill for bill in town.bills(40) if bill.member is not None)
    answer = await trade.call(town.post(bill))
    db = await connect(dsn_for(town.settings, database_of(town.tenant)))
    try:
        async with asyncio.timeout(60):
            while not await db.fetchval(
                "SELECT count(*) FROM redeem.ledger WHERE source_id = $1", answer.json()["bill_id"]
            ):
                await asyncio.sleep(0.02)
    finally:
        await db.close()
    return time.monotonic() - began


@pytest.mark.parametrize("point", ["before-commit", "after-effects-before-ack"])
@pytest.mark.parametrize("deed", ["die", "freeze"])
async def test_what_a_process_has_in_hand_is_taken_over(
    arena: Arena, tell: Tell, point: str, deed: str
) -> None:
    """One that was frozen goes on in the end, and does no harm."""
    await arena.heal()
    town = await found_town(arena.world.fleet, f"over-{deed}-{point[:5]}", members=5)
    keys, fleet = Keys("main", town.tenant), arena.world.fleet
    async with town.open() as trade:
        assert await booked_after(town, trade) < TAKE_OVER_S
        asked = arm(arena.points, "redeem", point, deed=deed)
        frozen = asked.with_name(f"{asked.name}.frozen")
        booking = asyncio.create_task(booked_after(town, trade))
        while asked.exists():
            await asyncio.sleep(0.01)
        began = time.monotonic()
        async with administrator(arena) as redis:
            while (await redis.xpending(keys.stream("earn"), "redeem"))["pending"]:
                assert time.monotonic() - began < TAKE_OVER_S
                await asyncio.sleep(0.02)
        taken_over = time.monotonic() - began
        booked = await booking
        if deed == "freeze":
            os.kill(int(frozen.read_text()), signal.SIGCONT)
            frozen.unlink()
        else:
            arena.world.mend()
        await asyncio.to_thread(fleet.wait_ready, town.tenant)
    await town.verified()
    await leave(town)
    tell(f"redeem, {deed} {point}: taken over after {taken_over:.1f} s, its bill booked after {booked:.1f} s")
    assert taken_over <= TAKE_OVER_S
    assert booked <= TAKE_OVER_S


async def test_who_waits_for_a_lock_for_longer_than_the_lease_keeps_its_entries(
    arena: Arena, tell: Tell
) -> None:
    await arena.heal()
    town = await found_town(arena.world.fleet, "over-slow", members=5)
    stream = Keys("main", town.tenant).stream("earn")
    seen: set[tuple[bytes, int]] = set()
    async with town.open() as trade, administrator(arena) as redis:
        assert await booked_after(town, trade) < TAKE_OVER_S
        db = await connect(dsn_for(town.settings, database_of(town.tenant)))
        async with db.transaction():
            await db.fetch("SELECT 1 FROM redeem.wallets FOR NO KEY UPDATE")
            booking = asyncio.create_task(booked_after(town, trade))
            began = time.monotonic()
            while time.monotonic() - began < 2 * LEASE_S:
                for row in await redis.xpending_range(stream, "redeem", "-", "+", 100):
                    seen.add((row["consumer"], row["times_delivered"]))
                await asyncio.sleep(0.05)
        await db.close()
        booked = await booking
    await town.verified()
    await leave(town)
    tell(
        f"held up for {2 * LEASE_S:.0f} s: delivered once, to {len(seen)} consumer; booked after {booked:.1f} s"
    )
    assert [deliveries for _, deliveries in seen] == [1], seen
