"""Tenants for tests: a database each, on the session's servers; and a service's process around handlers of the test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from shared.clock import Clock, real_clock
from shared.config import Settings
from shared.db import role_of
from shared.jobs import Job
from shared.messaging.bus import Bus, redis_client
from shared.messaging.commands import Handlers
from shared.messaging.writer import Buried
from shared.metrics import Metrics
from shared.runtime import Blueprint, TenantRuntime, open_tenant_pool
from shared.tenants import Tenant
from shared.tenants.directory import Directory
from shared.tenants.provision import dsn_for
from tests.support.copies import copy_tenant


async def new_tenant(settings: Settings) -> Tenant:
    """A tenant with all its schemas, under a code of its own."""
    code = f"t{secrets.token_hex(4)}"
    await copy_tenant(settings, code)
    directory = Directory(settings, "earn")
    await directory.open()
    try:
        [listed] = [one for one in await directory.tenants() if one.tenant.code == code]
    finally:
        await directory.close()
    return listed.tenant


def as_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command reads of its environment: these settings, without the administrator's DSN."""
    for name in ("postgres_host", "postgres_port", "control_database", "redis_url", "secret", "seal_folder"):
        if (value := getattr(settings, name)) is not None:
            monkeypatch.setenv(f"POINTBANK_{name.upper()}", str(value))


def as_administrator(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, with the administrator's DSN."""
    as_environment(settings, monkeypatch)
    monkeypatch.setenv("POINTBANK_POSTGRES_DSN", settings.admin_dsn())


async def suspend_all(settings: Settings) -> None:
    """Every tenant of this directory is served no more; its data stay."""
    try:
        db = await asyncpg.connect(dsn_for(settings, settings.control_database))
    except asyncpg.InvalidCatalogNameError:
        return  # no tenant was made yet
    try:
        await db.execute("UPDATE control.tenants SET state = 'suspended' WHERE state = 'active'")
    except asyncpg.UndefinedTableError:
        pass
    finally:
        await db.close()


async def connect_as(settings: Settings, tenant: Tenant, service: str) -> asyncpg.Connection[asyncpg.Record]:
    """A connection with a service's own role, or the auditor's."""
    role = role_of(tenant.code, service)
    return await asyncpg.connect(
        host=tenant.host,
        port=tenant.port,
        database=tenant.database,
        user=role,
        password=settings.password_of(service, role),
    )


@asynccontextmanager
async def running(
    settings: Settings,
    tenant: Tenant,
    service: str,
    handlers: Handlers,
    *,
    hears: tuple[str, ...] = (),
    jobs: tuple[Job, ...] = (),
    buried: Buried | None = None,
    clock: Clock | None = real_clock,
) -> AsyncIterator[TenantRuntime]:
    """One service's process for one tenant, with these handlers; stopped in order at the end."""
    async with AsyncExitStack() as stack:
        # Each is closed whatever became of the others: a connection that is left open is a warning in some later test.
        directory = Directory(settings, service)
        stack.push_async_callback(directory.close)
        await directory.open()
        redis, relay_redis = redis_client(settings.redis_url), redis_client(settings.relay_redis_url)
        bus = Bus(settings.redis_url, connections=64)
        for close in (relay_redis.aclose, redis.aclose, bus.stop):
            stack.push_async_callback(close)
        await bus.start()
        runtime = TenantRuntime(
            Blueprint(name=service, handlers=handlers, hears=hears, jobs=jobs, buried=buried),
            tenant,
            settings=settings,
            pool=await open_tenant_pool(settings, tenant, service),
            redis=redis,
            relay_redis=relay_redis,
            bus=bus,
            directory=directory,
            metrics=Metrics(CollectorRegistry(), service),
            clock=clock,
        )
        stack.push_async_callback(runtime.stop)
        await runtime.start()
        yield runtime
