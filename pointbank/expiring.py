"""`pointbank expire`: the bank's sweep from the command line, with the bank's own lane and role, beside running services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from pointbank.logins import find_served
from services.redeem.domain.sweep import Swept
from services.redeem.handlers import ON
from services.redeem.sweeping import dry_run, tell_of_expiry, walk
from shared.clock import Clock, real_clock
from shared.config import Settings
from shared.db import Connection, Pool
from shared.ids import uuid7
from shared.messaging import FromJob, Item, Keys, Outcome
from shared.messaging.bus import redis_client
from shared.messaging.lane import Lane
from shared.messaging.sealer import Sealer
from shared.messaging.writer import Writer
from shared.metrics import Metrics
from shared.runtime import open_tenant_pool

SERVICE = "redeem"


class Desk:
    """A tenant's bank without its streams: what is written here, the running services tell."""

    def __init__(self, lane: Lane, pool: Pool, cache: dict[Any, Any], clock: Clock) -> None:
        self._lane, self._pool = lane, pool
        self.cache, self.clock = cache, clock

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A connection with the bank's role."""
        async with self._pool.acquire() as db:
            yield db

    async def do(self, command: Any, *, job: str) -> Outcome:
        """Hands a command to the lane."""
        return await self._lane.submit(
            Item(command=command, origin=FromJob(job), request_id=str(uuid7()), actor=f"job:{job}")
        )


@asynccontextmanager
async def open_desk(settings: Settings, tenant: str, *, clock: Clock = real_clock) -> AsyncIterator[Desk]:
    """The bank of a tenant that is active and on this release's schema."""
    found = await find_served(settings, tenant, SERVICE)
    metrics = Metrics(CollectorRegistry(), SERVICE)
    redis = redis_client(settings.redis_url)
    pool = await open_tenant_pool(settings, found, SERVICE)
    cache: dict[Any, Any] = {Metrics: metrics}
    sealer = Sealer(settings.secret_of(SERVICE), found.code)
    lane = Lane(
        Writer(pool, found, clock, redis, Keys(found.cell, found.code), sealer, cache),
        ON,
        metrics=metrics,
        tenant=found.code,
        batch_items=settings.batch_items,
        http_batch_items=settings.http_batch_items,
        poison_attempts=settings.poison_attempts,
    )
    try:
        yield Desk(lane, pool, cache, clock)
    finally:
        await lane.drain()
        await pool.close()
        await redis.aclose()


async def expire_tenant(
    settings: Settings,
    tenant: str,
    *,
    only_look: bool,
    say: Callable[[dict[str, Swept]], None] | None = None,
    clock: Clock = real_clock,
) -> tuple[list[Swept], int]:
    """What expired (or with `only_look` would have), by programme, and how many notices were given."""
    async with open_desk(settings, tenant, clock=clock) as desk:
        if only_look:
            swept, told = await dry_run(desk, say=say), 0
        else:
            swept = await walk(desk, say=say)
            told = await tell_of_expiry(desk)
    return [found for _, found in sorted(swept.items())], told
