"""The alert about how much of Redis a tenant's streams take: two tenants, and the two ways out of it."""

from __future__ import annotations

import asyncio
from typing import Any

from shared.messaging.keys import SERVICES, Keys
from shared.messaging.sizes import SAMPLES
from tests.soak.alarms.site import Site

SMALL = 600_000
RAISED = 4_000_000
"""Bytes that a tenant may take."""
FULL = SMALL * 9 // 10
TOLD = """
    pointbank_stream_bytes{{tenant="{tenant}", service="redeem", kind="service"}}
    and on (instance, tenant) pointbank_stream_budget_bytes == {budget}
"""
"""What processes that have this budget say of the bank's stream."""


async def streams_grow_too_large(site: Site) -> None:
    """A tenant's tills leave their replies behind; another's bank is not read, for somebody has locked a table of tiers."""
    gone, grown = "pool", "away"
    stream = Keys("main", grown).stream("redeem")
    await _budget(site, SMALL)
    async with site.redis() as redis:
        await _leave_replies(site, gone, redis)
        async with site.books_of(grown) as holder:
            await holder.execute("BEGIN; LOCK TABLE tiers.inbox IN ACCESS EXCLUSIVE MODE")
            while await _bytes_of(redis, stream) < FULL:
                await _trade(site, grown, 200)
            for name in (gone, grown):
                await site.watch.fires("PointbankStreamsTooLarge", 9, tenant=name)
            await _drop_the_tills(site, gone, redis)
            await site.watch.goes("PointbankStreamsTooLarge", 2, tenant=gone)

            behind = {one["name"].decode(): one["lag"] for one in await redis.xinfo_groups(stream)}
            assert behind["tiers"] > max(behind[one] for one in behind if one != "tiers"), behind
            assert site.watch.firing("PointbankStreamsTooLarge", tenant=grown)
            await _budget(site, RAISED)
            await _trade(site, grown, 5)  # of a tenant that rests nobody looks
            while await _told(site, grown, RAISED) < FULL:  # it is as large as it was
                await asyncio.sleep(1)
            await site.watch.goes("PointbankStreamsTooLarge", 2, tenant=grown)
        while await _bytes_of(redis, stream) > SMALL // 10:
            await asyncio.sleep(1)


async def _budget(site: Site, octets: int) -> None:
    """Each service is stopped, and started with this budget."""
    fleet = site.world.fleet
    for name in list(fleet.replicas):
        await asyncio.to_thread(fleet.stop, name)
        await asyncio.to_thread(fleet.start, name, {"POINTBANK_STREAM_BYTES": str(octets)})
    await asyncio.to_thread(fleet.wait_ready, *site.towns)


async def _trade(site: Site, tenant: str, bills: int) -> None:
    """So many are rung up and answered."""
    await site.ring_up(tenant, bills)
    await site.trades[tenant].till.wait(settled=True, timeout_s=120)


async def _leave_replies(site: Site, tenant: str, redis: Any) -> None:
    """Bills are rung up until what the tills were told is too large, beside what notifier keeps of its own stream."""
    while (
        await _bytes_of(redis, Keys("main", tenant).stream("notifier"), *await _replies(redis, tenant)) < FULL
    ):
        await _trade(site, tenant, 100)


async def _drop_the_tills(site: Site, tenant: str, redis: Any) -> None:
    """Those that are gone for good, the largest first, until two fifths of what the tenant may take are free."""
    own = [Keys("main", tenant).stream(service).encode() for service in SERVICES]
    tills = await _replies(redis, tenant)
    taken = {one: await _bytes_of(redis, one) for one in [*own, *tills]}
    before, dropped = sum(taken.values()), 0
    for till in sorted(tills, key=taken.__getitem__, reverse=True):
        if sum(taken.values()) > SMALL * 6 // 10:
            dropped += await redis.delete(till)
            taken[till] = 0
    site.watch.history.append(
        f"            {tenant}: {before} bytes, {sum(taken.values())} without {dropped} tills"
    )
    assert sum(taken.values()) < SMALL * 6 // 10


async def _replies(redis: Any, tenant: str) -> list[bytes]:
    return [key async for key in redis.scan_iter(match=Keys("main", tenant).out("*"), count=1000)]


async def _bytes_of(redis: Any, *streams: bytes | str) -> int:
    return sum([await redis.memory_usage(one, samples=SAMPLES) or 0 for one in streams])


async def _told(site: Site, tenant: str, budget: int) -> float:
    found = await asyncio.to_thread(site.watch.value, TOLD.format(tenant=tenant, budget=budget))
    return max((value for _, value in found), default=0.0)
