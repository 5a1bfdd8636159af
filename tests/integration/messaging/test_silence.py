"""A connection to PostgreSQL that falls silent without a reset: a node died, and its address has moved on to another."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from shared.config import Settings
from shared.db import Pool
from shared.messaging import Done
from shared.runtime import TenantRuntime, open_tenant_pool
from shared.silence import be_patient
from shared.tenants import Tenant
from tests.soak.wire import Wire
from tests.support.speaking import Say, by_job, say
from tests.support.tenants import running

STATEMENT_S = 0.5
BOUND_S = STATEMENT_S + 10.0


@pytest.fixture
def wire(settings: Settings) -> Iterator[Wire]:
    with Wire(settings.postgres_port).running() as wire:
        yield wire


@pytest.fixture
def through(wire: Wire, settings: Settings) -> Settings:
    """Settings whose PostgreSQL is at the other end of the wire."""
    return settings.model_copy(
        update={
            "postgres_host": "127.0.0.1",
            "postgres_port": wire.port,
            "statement_timeout_ms": int(STATEMENT_S * 1000),
        }
    )


def at(wire: Wire, tenant: Tenant) -> Tenant:
    return replace(tenant, host="127.0.0.1", port=wire.port)


async def open_all(pool: Pool) -> None:
    """Every connection that the pool may have."""
    held = [await pool.acquire() for _ in range(pool.get_max_size() - pool.get_size() + pool.get_idle_size())]
    for db in held:
        await pool.release(db)


@asynccontextmanager
async def opened(through: Settings, tenant: Tenant, wire: Wire) -> AsyncIterator[Pool]:
    pool = await open_tenant_pool(through, at(wire, tenant), "earn")
    try:
        yield pool
    finally:
        await pool.close()


async def write_three(service: TenantRuntime) -> None:
    outcomes = await asyncio.gather(*[service.lane.submit(by_job(Say(str(k)))) for k in range(3)])
    assert [outcome.body for outcome in outcomes if isinstance(outcome, Done)] == [
        b'{"said":"0"}',
        b'{"said":"1"}',
        b'{"said":"2"}',
    ]


async def test_a_lane_goes_on_when_all_its_connections_have_fallen_silent(
    through: Settings, tenant: Tenant, wire: Wire
) -> None:
    async with running(through, at(wire, tenant), "earn", {Say: say}) as service:
        await write_three(service)
        await open_all(service.pool)
        published = service.relay.published
        wire.fall_silent()
        began = time.monotonic()
        async with asyncio.timeout(BOUND_S):
            await write_three(service)
            while service.relay.published < published + 3:
                await asyncio.sleep(0.02)
        assert time.monotonic() - began > STATEMENT_S, "nothing had fallen silent"
        wire.fall_silent()
        began = time.monotonic()
    assert time.monotonic() - began < BOUND_S, "who stops waits for nobody who is silent"


@pytest.mark.soak
async def test_who_may_take_long_is_waited_for_until_the_connection_is_given_back(
    through: Settings, tenant: Tenant, wire: Wire
) -> None:
    slow = "SET statement_timeout = 0; SELECT pg_sleep(6)"
    async with opened(through.model_copy(update={"pool_size": 1}), tenant, wire) as pool:
        async with pool.acquire() as db:
            be_patient(db, statement_timeout_ms=20_000)
            await db.execute(slow)
        began = time.monotonic()
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            async with pool.acquire() as db:
                await db.execute(slow)
        assert STATEMENT_S + 2.0 <= time.monotonic() - began < 6.0
        assert await pool.fetchval("SELECT 1") == 1, "the next has another"


@pytest.mark.soak
async def test_who_is_answered_may_use_a_connection_for_long(
    through: Settings, tenant: Tenant, wire: Wire
) -> None:
    async with opened(through, tenant, wire) as pool, pool.acquire() as db:
        first = db.get_server_pid()
        until = time.monotonic() + 4.0
        while time.monotonic() < until:
            await db.fetchval("SELECT pg_sleep(0.2)")
        await asyncio.sleep(4.0)  # it has its answers, and asks nothing
        assert await db.fetchval("SELECT pg_backend_pid()") == first


async def test_the_kernels_of_both_ends_watch_a_connection(
    through: Settings, tenant: Tenant, wire: Wire
) -> None:
    async with opened(through, tenant, wire) as pool, pool.acquire() as db:
        raw: Any = db._con  # type: ignore[attr-defined]
        line = raw._transport.get_extra_info("socket")
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        ours = [
            line.getsockopt(socket.IPPROTO_TCP, name)
            for name in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        ]
        theirs = [
            await db.fetchval(f"SHOW tcp_{name}")
            for name in ("keepalives_idle", "keepalives_interval", "keepalives_count", "user_timeout")
        ]
    assert (ours, theirs) == ([4, 2, 2, 8000], ["4", "2", "2", "8000"])
