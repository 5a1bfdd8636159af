"""One tenant as one service's process serves it: pool, lane, relay, consumers, jobs; started and stopped as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis

from shared.clock import Clock, real_clock
from shared.config import Settings
from shared.db import Connection, Kept, Pool, open_pool, role_of
from shared.http.runtime import Check
from shared.ids import uuid7
from shared.messaging.bus import Bus
from shared.messaging.commands import FromJob, Handlers, Item, Outcome
from shared.messaging.consumer import Consumer
from shared.messaging.entries import PosDecoder, StreamDecoder, Unreadable, refuse_unreadable
from shared.messaging.faults import passing
from shared.messaging.housekeeping import Housekeeping, consumer_name
from shared.messaging.keys import HEARERS, Keys
from shared.messaging.lane import DRAIN_S, Lane
from shared.messaging.relay import Relay
from shared.messaging.sealer import Sealer
from shared.messaging.traced import TracedLane
from shared.messaging.writer import Buried, Writer
from shared.metrics import Metrics
from shared.tenants import Tenant
from shared.tenants.directory import Directory
from shared.traces import Traces
from shared.upkeep import EVERY_S as UPKEEP_EVERY_S
from shared.upkeep import Upkeep

log = structlog.get_logger(__name__)

RECLAIM_EVERY_S = 1.0
END_S = 10.0
"""So long a stop waits for what consumers and jobs hold before the lane gives it up; with DRAIN_S below Kubernetes' grace."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something a service does for a tenant every so often, beside other processes that do it too."""

    name: str
    every_s: float
    run: Callable[[TenantRuntime], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a service is made of: see shared/service.py."""

    name: str
    handlers: Handlers
    hears: tuple[str, ...]
    jobs: tuple[Job, ...] = ()
    buried: Buried | None = None


class TenantRuntime:
    """Serves one tenant until it is stopped. `lane` takes writes, `read()` gives a connection for reads."""

    def __init__(
        self,
        blueprint: Blueprint,
        tenant: Tenant,
        *,
        settings: Settings,
        pool: Pool,
        redis: Redis,
        relay_redis: Redis,
        bus: Bus,
        directory: Directory,
        metrics: Metrics,
        clock: Clock = real_clock,
        traces: Traces | None = None,
    ) -> None:
        self.code = tenant.code
        self.tenant = tenant
        self.settings = settings
        self.pool = pool
        self.redis = redis
        self.keys = Keys(tenant.cell, tenant.code)
        self.metrics = metrics
        self.clock = clock
        # What outlives a transaction; handlers find the metrics here too.
        self.cache: dict[Any, Any] = {Metrics: metrics}
        if traces is not None:
            self.cache[Traces] = traces
        self._blueprint, self._bus = blueprint, bus
        self.sealer = Sealer(settings.secret_of(blueprint.name), tenant.code)
        handlers: Handlers = {**blueprint.handlers, Unreadable: refuse_unreadable}

        async def lowest() -> int | None:
            return await directory.lowest_position(tenant.code, blueprint.name, HEARERS[blueprint.name])

        async def highest() -> int | None:
            return await directory.highest_position(tenant.code, blueprint.name)

        self.relay = Relay(
            pool=pool,
            redis=relay_redis,
            keys=self.keys,
            service=blueprint.name,
            lowest_position=lowest,
            highest_position=highest,
            metrics=metrics,
            traces=traces,
        )
        self._kept = Kept(pool)
        self.writer = Writer(
            pool,
            tenant,
            clock,
            redis,
            self.keys,
            self.sealer,
            self.cache,
            blueprint.buried,
            self.relay.wake,
            self._kept,
        )
        self.lane = (Lane if traces is None else TracedLane)(
            self.writer,
            handlers,
            metrics=metrics,
            tenant=tenant.code,
            batch_items=settings.batch_items,
            http_batch_items=settings.http_batch_items,
            poison_attempts=settings.poison_attempts,
        )
        if traces is not None and isinstance(self.lane, TracedLane):
            self.lane.traces, self.lane.of = traces, tenant.code
        name = consumer_name(blueprint.name)
        self.consumers = [self._consumer(stream, name, handlers) for stream in blueprint.hears]
        self.housekeeping = Housekeeping(
            pool=pool,
            redis=redis,
            keys=self.keys,
            service=blueprint.name,
            heard=[stream for stream in blueprint.hears if stream != "pos"],
            consumers=self.consumers,
            lane=self.lane,
            sealer=self.sealer,
            directory=directory,
            metrics=metrics,
        )
        self.upkeep = Upkeep(pool, settings, tenant.code)
        self._tasks: list[asyncio.Task[None]] = []
        self._relaying: asyncio.Task[None] | None = None

    def _consumer(self, stream: str, name: str, handlers: Handlers) -> Consumer:
        pos = stream == "pos"

        async def start_at() -> str:
            return "0" if pos else await self.housekeeping.start_at(stream)

        return Consumer(
            stream=self.keys.pos if pos else self.keys.stream(stream),
            label=stream,
            group=self._blueprint.name,
            name=name,
            lane=self.lane,
            decode=PosDecoder() if pos else StreamDecoder(stream, self.code, handlers),
            start_at=start_at,
            # Half of what a service hears is for others; a batch is full with what it handles.
            count=self.settings.batch_items * (1 if pos else 2),
            lease_ms=self.settings.reclaim_idle_ms,
            metrics=self.metrics,
            tenant=self.code,
        )

    async def start(self) -> None:
        """Prepares its tables and begins. Raises what keeps it from beginning; the caller tries again."""
        await self.housekeeping.prepare()
        self._relaying = asyncio.create_task(self.relay.run(), name=f"relay {self.code}")
        for consumer in self.consumers:
            await consumer.start(self._bus)
        self._go(self.housekeeping.run(), "housekeeping")
        self._go(self._reclaim(), "reclaim")
        for job in (*self._blueprint.jobs, Job("upkeep", UPKEEP_EVERY_S, lambda _: self.upkeep.turn())):
            self._go(self._repeat(job), job.name)

    async def stop(self) -> None:
        """Finishes what it holds: no new entries, the lane drained, the last events told.

        While PostgreSQL is away nothing can be finished: after a while the lane gives up what it holds, and so all who wait
        for it; entries stay pending for others.
        """
        ending = asyncio.create_task(self._end())
        await asyncio.wait([ending], timeout=END_S)
        await self.lane.drain(within_s=DRAIN_S)
        await ending
        self.metrics.stopped(self.code)
        await self.relay.stop()
        if self._relaying is not None:
            await asyncio.wait([self._relaying], timeout=10)
        await self._kept.close()
        await self.pool.close()

    async def _end(self) -> None:
        await asyncio.gather(*[consumer.stop() for consumer in self.consumers])
        # Asked again until they end: a library that times out at that very moment can swallow a cancellation.
        while pending := [task for task in self._tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=1.0)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A connection with the service's own role, for reading outside the lane."""
        async with self.pool.acquire() as db:
            yield db

    async def do(self, command: Any, *, job: str) -> Outcome:
        """Hands a command of a job to the lane."""
        return await self.lane.submit(
            Item(command=command, origin=FromJob(job), request_id=str(uuid7()), actor=f"job:{job}")
        )

    def checks(self) -> list[Check]:
        """Relay, consumers, server, and the tasks that must not end: those only a restart can bring back."""
        wrongs = [(f"relay:{self.code}", self.relay.trouble(after_s=30.0))]
        wrongs += [(f"consumer:{self.code}:{one.label}", one.trouble(after_s=15.0)) for one in self.consumers]
        found = [Check(name, wrong is None, wrong or "") for name, wrong in wrongs] + self.upkeep.checks()
        tasks = [*self._tasks, *([self._relaying] if self._relaying is not None else [])]
        found += [
            Check(f"task:{self.code}:{task.get_name()}", ok=False, detail="has ended", fatal=True)
            for task in tasks
            if task.done()
        ]
        return found

    def _go(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _reclaim(self) -> None:
        while True:
            await asyncio.sleep(RECLAIM_EVERY_S)
            for consumer in self.consumers:
                try:
                    while await consumer.reclaim():
                        pass
                except Exception as error:
                    if passing(error):
                        log.warning("reclaim failed", stream=consumer.stream, error=repr(error)[:300])
                    else:
                        log.error("reclaim is broken", stream=consumer.stream, exc_info=error)

    async def _repeat(self, job: Job) -> None:
        while True:
            try:
                await job.run(self)
            except Exception as error:
                if passing(error):
                    log.warning("job failed", job=job.name, tenant=self.code, error=repr(error)[:300])
                else:
                    self.metrics.failed(self.code, error)
                    log.error("job is broken", job=job.name, tenant=self.code, exc_info=error)
            await asyncio.sleep(job.every_s)


async def open_tenant_pool(settings: Settings, tenant: Tenant, service: str) -> Pool:
    """The pool of a service in a tenant's database, with that service's own role."""
    role = role_of(tenant.code, service)
    return await open_pool(
        settings,
        database=tenant.database,
        user=role,
        password=settings.password_of(service, role),
        size=settings.pool_size,
        application=f"pointbank-{service}",
        host=tenant.host,
        port=tenant.port,
    )


@dataclass(slots=True)
class Served:
    """A tenant in the directory, and its runtime where it is being served."""

    state: str
    runtime: TenantRuntime | None = None
    trouble: str = ""
