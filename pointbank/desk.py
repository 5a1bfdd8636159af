"""A tenant's bank for a command: the service's own lane, handlers and role, in a process beside the running ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from pointbank.logins import find_served
from pointbank.waking import kept_awake
from services.redeem.handlers import ON
from shared.clock import Clock
from shared.collecting import settle_garbage_collector
from shared.config import Settings
from shared.messaging import Item, Keys, Outcome, Tx
from shared.messaging.bus import Bus, redis_client
from shared.metrics import Metrics
from shared.runtime import Blueprint, TenantRuntime, open_tenant_pool
from shared.tenants.directory import Directory

SERVICE = "redeem"


@asynccontextmanager
async def open_desk(
    settings: Settings, tenant: str, *, clock: Clock | None = None
) -> AsyncIterator[TenantRuntime]:
    """The bank without its ears, of a tenant that is active and on this release's schema: it hears and relays nothing, running
    processes tell what it writes. Raises UnknownTenant, NotServed."""
    found = await find_served(settings, tenant, SERVICE)
    directory = Directory(settings, SERVICE)
    await directory.open()
    redis = redis_client(settings.redis_url)
    try:
        runtime = TenantRuntime(
            Blueprint(name=SERVICE, handlers=ON, hears=()),
            found,
            settings=settings,
            pool=await open_tenant_pool(settings, found, SERVICE),
            redis=redis,
            relay_redis=redis,
            bus=Bus(settings.redis_url, connections=1),
            directory=directory,
            metrics=Metrics(CollectorRegistry(), SERVICE),
            clock=clock,
        )
        async with kept_awake(redis, found.cell, tenant):
            settle_garbage_collector()
            try:
                await runtime.upkeep.compare_clocks()
                yield runtime
            finally:
                await runtime.stop()
    finally:
        await redis.aclose()
        await directory.close()


async def rehearse(runtime: TenantRuntime, items: Sequence[Item[Any]]) -> Sequence[Outcome]:
    """The outcomes of the lane's own handler (all items are of one kind), in a transaction that is rolled back."""
    if not items:
        return []
    async with runtime.pool.acquire() as db:
        transaction = db.transaction()
        await transaction.start()
        try:
            tx = Tx(
                db, tenant=runtime.tenant, clock=runtime.clock, cache=runtime.cache, redis=runtime.redis,
                keys=Keys(runtime.tenant.cell, runtime.code),
            )  # fmt: skip
            return await ON[type(items[0].command)](tx, items)
        finally:
            await transaction.rollback()
