"""Releasing reservations from outside of the service: the same handler, lane and role, in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from pointbank.logins import find_served
from services.redeem.handlers import ON
from services.redeem.releasing import Progress, Released, release_reservations
from shared.config import Settings
from shared.messaging.bus import Bus, redis_client
from shared.metrics import Metrics
from shared.runtime import Blueprint, TenantRuntime, open_tenant_pool
from shared.tenants.directory import Directory


async def release(
    settings: Settings, tenant: str, *, dry_run: bool, progress: Progress | None = None
) -> Released:
    """Releases what is set aside past its time; raises UnknownTenant, NotServed."""
    async with bank(settings, tenant) as runtime:
        return await release_reservations(runtime, dry_run=dry_run, progress=progress)


@asynccontextmanager
async def bank(settings: Settings, tenant: str) -> AsyncIterator[TenantRuntime]:
    """A tenant's redeem without its ears: it hears and relays nothing, running processes tell what it writes."""
    found = await find_served(settings, tenant, "redeem")
    directory = Directory(settings, "redeem")
    await directory.open()
    redis = redis_client(settings.redis_url)
    try:
        runtime = TenantRuntime(
            Blueprint(name="redeem", handlers=ON, hears=()),
            found,
            settings=settings,
            pool=await open_tenant_pool(settings, found, "redeem"),
            redis=redis,
            relay_redis=redis,
            bus=Bus(settings.redis_url, connections=1),
            directory=directory,
            metrics=Metrics(CollectorRegistry(), "redeem"),
        )
        try:
            yield runtime
        finally:
            await runtime.stop()
    finally:
        await redis.aclose()
        await directory.close()
