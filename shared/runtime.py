"""One tenant as one service's process serves it: pool, lane, relay, consumers, jobs; started and stopped as one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis

from shared.budget import Budget, close_idle
from shared.clock import Clock, TenantClock
from shared.config import Settings
from shared.db import Connection, Kept, Pool, open_pool, role_of
from shared.ending import end
from shared.fairness import FAIRNESS
from shared.http.runtime import Check
from shared.ids import uuid7
from shared.jobs import Job, Rota
from shared.messaging.bus import Bus
from shared.messaging.commands import FromJob, Handlers, Item, Outcome
from shared.messaging.consumer import Consumer
from shared.messaging.copies import Copy
from shared.messaging.entries import PosDecoder, StreamDecoder, Unreadable, refuse_unreadable
from shared.messaging.faults import passing
from shared.messaging.housekeeping import Housekeeping, consumer_name
from shared.messaging.keys import HEARERS, Keys
from shared.messaging.lane import DRAIN_S, Lane
from shared.messaging.relay import Relay
from shared.messaging.retries import Retries
from shared.messaging.sealer import Sealer
from shared.messaging.sizes import StreamBytes
from shared.messaging.traced import TracedLane
from shared.messaging.writer import Buried, Writer
from shared.metrics import Metrics
from shared.resting import Rest, look, may_rest, standing
from shared.tenants import Tenant
from shared.tenants.directory import Directory
from shared.traces import Traces
from shared.upkeep import CLOCKS_EVERY_S, Upkeep
from shared.upkeep import EVERY_S as UPKEEP_EVERY_S

log = structlog.get_logger(__name__)

RECLAIM_EVERY_S = 1.0
BEGINS_S = 15.0
"""So long a tenant that was begun with may take before it is one in trouble."""
HOUSEKEEPING_S = 60.0
"""So long housekeeping may not come to the end of a turn: one waits for a lock, or a statement, at each of its steps."""
AT_REST = "nobody uses it: nothing runs for it until somebody does"
END_S = 10.0
"""So long a stop waits for what consumers and jobs hold before the lane gives it up."""
LAST_TURN_S = 10.0
"""And so long for the relay's last turn: what it has not told by then its next process tells. With DRAIN_S, the time for open calls
and the sleep before it all below the grace of Compose and Kubernetes."""

NextDue = Callable[[Connection, datetime], Awaitable[datetime | None]]
"""When something falls due that only time brings: not after that moment, now, where it waits already; None for never."""


async def nothing_due(_: Connection, __: datetime) -> datetime | None:
    """Of a service that waits for nobody."""
    return None


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a service is made of: see shared/service.py."""

    name: str
    handlers: Handlers
    hears: tuple[str, ...]
    jobs: tuple[Job, ...] = ()
    buried: Buried | None = None
    next_due: NextDue = nothing_due


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
        clock: Clock | None = None,
        traces: Traces | None = None,
        catching_up: asyncio.Semaphore | None = None,
    ) -> None:
        self.code = tenant.code
        self.tenant = tenant
        self.settings = settings
        self.pool = pool
        self.redis = redis
        self.keys = Keys(tenant.cell, tenant.code)
        self.metrics = metrics
        compared = TenantClock()
        self.clock: Clock = clock or compared
        # What outlives a transaction; handlers find the metrics here too, and whom to tell of streams.
        sizes = StreamBytes(redis, self.keys, blueprint.name, metrics, budget_bytes=settings.stream_bytes)
        self.cache: dict[Any, Any] = {Metrics: metrics, StreamBytes: sizes}
        if traces is not None:
            self.cache[Traces] = traces
        self.blueprint, self.bus = blueprint, bus
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
            catching_up=catching_up,
            traces=traces,
        )
        self._kept = Kept(pool)
        self.writer = Writer(
            pool,
            tenant,
            self.clock,
            redis,
            self.keys,
            self.sealer,
            self.cache,
            blueprint.buried,
            self._told,
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
        retries = Retries(
            pool=pool,
            lane=self.lane,
            sealer=self.sealer,
            decoders={one.label: one.decode for one in self.consumers},
            metrics=metrics,
            tenant=tenant.code,
        )
        self.housekeeping = Housekeeping(
            pool=pool,
            redis=redis,
            keys=self.keys,
            service=blueprint.name,
            heard=[stream for stream in blueprint.hears if stream != "pos"],
            consumers=self.consumers,
            retries=retries,
            directory=directory,
            metrics=metrics,
            sizes=sizes,
        )
        self.upkeep = Upkeep(pool, settings, tenant.code, compared, metrics)
        self.rota = Rota(
            [
                # First: a look at a tenant that rests does one after the other.
                Job("clock", CLOCKS_EVERY_S, lambda runtime: runtime.upkeep.compare_clocks()),
                *blueprint.jobs,
                Job("upkeep", UPKEEP_EVERY_S, lambda runtime: runtime.upkeep.turn()),
            ]
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._relaying: asyncio.Task[None] | None = None
        self.began_at = time.monotonic()
        self.used_at = self.hinted_at = float("-inf")
        """When somebody used it here, and when another process last said that it does."""
        self._moved = 0
        self._hearing = False
        self.resting = False
        self.closing = False
        """Whether nothing is heard that outsiders offer: it is being suspended, and finishes what it holds."""
        self.wanted: Callable[[TenantRuntime], None] | None = None
        """Told, while it rests, that it is used."""

    @property
    def heard(self) -> list[Consumer]:
        """Its consumers; while it is being suspended, without what outsiders offer."""
        return [one for one in self.consumers if not (self.closing and one.label == "pos")]

    async def close_door(self) -> None:
        """What outsiders offer from now on stays where it is. Safe to repeat."""
        if not self.closing:
            self.closing = True
            await asyncio.gather(*[one.stop() for one in self.consumers if one.label == "pos"])

    def use(self) -> None:
        """Somebody is here for this tenant: where it rests, it is woken."""
        self.used_at = time.monotonic()
        if self.resting and self.wanted is not None:
            self.wanted(self)

    def _told(self, told: Iterable[tuple[UUID, bytes]]) -> None:
        self.relay.wake(told)
        if self.resting:
            self.use()

    def _consumer(self, stream: str, name: str, handlers: Handlers) -> Consumer:
        pos = stream == "pos"

        async def start_at() -> str:
            return "0" if pos else await self.housekeeping.start_at(stream)

        return Consumer(
            stream=self.keys.pos if pos else self.keys.stream(stream),
            label=stream,
            group=self.blueprint.name,
            name=name,
            lane=self.lane,
            decode=PosDecoder() if pos else StreamDecoder(stream, self.code, handlers),
            start_at=start_at,
            may_begin=None if pos else self._copy(stream).may_be_heard,
            # Half of what a service hears is for others; a batch is full with what it handles.
            count=self.settings.batch_items * (1 if pos else 2),
            lease_ms=self.settings.reclaim_idle_ms,
            metrics=self.metrics,
            tenant=self.code,
        )

    def _copy(self, stream: str) -> Copy:
        return Copy(stream, pool=self.pool, redis=self.redis, keys=self.keys)

    @property
    def held_back(self) -> bool:
        """Whether a stream can't be heard here yet. Such a tenant does not go to rest."""
        return any(one.held_back for one in self.heard)

    async def start(self) -> None:
        """Prepares its tables and begins, also after a rest. Raises what keeps it from beginning; the caller tries again."""
        if self.housekeeping.partitions_due():
            await self.housekeeping.prepare()
        await self.upkeep.compare_clocks()  # before anything that was offered is decided
        await self._halt()  # of a start, or a rest, that was broken off
        self.lane.keep_unread()
        self._relaying = asyncio.create_task(self.relay.begin(), name=f"relay {self.code}")
        self._hearing = True
        for consumer in self.heard:
            await consumer.start(self.bus)
        self._go(self.housekeeping.begin(), "housekeeping")
        for consumer in self.consumers:  # each by itself: what one takes over may take long to write
            self._go(self._reclaim(consumer), f"reclaim {consumer.label}")
        self._tasks += self.rota.tasks(self)
        self.began_at = time.monotonic()
        self.resting = False

    @property
    def quiet(self) -> bool:
        """Whether nothing is being done here, and everything was looked at since it began. What moved counts as use."""
        moved = self.relay.published + sum(consumer.entries for consumer in self.consumers)
        if moved != self._moved:
            self._moved, self.used_at = moved, time.monotonic()
        looked = min(self.relay.turned_at, self.housekeeping.turned_at) >= self.began_at
        return (
            looked
            and self.lane.idle
            and not self.held_back
            and not self.rota.busy
            and self.relay.trouble(after_s=30.0) is None
        )

    async def rest(self) -> Rest | None:
        """Stops all that runs for the tenant and closes its connections, its lane stays open; None, and it goes on, where
        something waits to be done. What begins meanwhile is told by `wanted`."""
        began = time.monotonic()
        self.resting = True
        await self._halt()
        streams = await standing(self)
        rest = None if streams is None else await may_rest(self, streams, began=began)
        if rest is None:
            await self.start()
            return None
        await self._close_up()
        return rest

    async def look(self) -> Rest | None:
        """Does once what is due for it while it rests, as `shared.resting.look`; None where it must be started for more."""
        rest = await look(self)
        if rest is not None:
            await self._close_up()
        return rest

    async def _close_up(self) -> None:
        await self._kept.give_back()
        close_idle(self.pool)
        self.metrics.rested(self.code)

    async def _halt(self) -> None:
        """Nothing runs for the tenant any more, and what was told is published; where nothing runs, nothing is done."""
        self.lane.leave_unread()
        await self._end()
        if self._relaying is not None and not self._relaying.done():
            await self.relay.stop()
            await asyncio.wait([self._relaying])

    async def stop(self) -> None:
        """Finishes what it holds: no new entries, the lane drained, the last events told.

        While PostgreSQL is away nothing can be finished: after a while the lane gives up what it holds, and so all who wait
        for it; entries stay pending for others.
        """
        self.lane.leave_unread()
        ending = asyncio.create_task(self._end())
        await asyncio.wait([ending], timeout=END_S)
        await self.lane.drain(within_s=DRAIN_S)
        await ending
        self.metrics.stopped(self.code)
        FAIRNESS.forget(self.code)
        if self.relay.wanted and self._relaying is not None and self._relaying.done():  # it rests
            self._relaying = asyncio.create_task(self.relay.begin(), name=f"relay {self.code}")
        await self.relay.stop()
        if self._relaying is not None:
            # One that was left running would open its connections anew after they are closed.
            await asyncio.wait([self._relaying], timeout=LAST_TURN_S)
            await end([self._relaying])
        await self._kept.close()
        await self.pool.close()

    async def _end(self) -> None:
        if self._hearing:
            await asyncio.gather(*[consumer.stop() for consumer in self.consumers])
            self._hearing = False
        await end(self._tasks)
        self._tasks.clear()

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
        """Relay, consumers, housekeeping, server, and the tasks that must not end: those only a restart can bring back. At rest
        nothing runs, and that is said."""
        if self.resting:
            return [
                Check(f"rest:{self.code}", ok=True, detail=AT_REST, tenant=self.code),
                *self.upkeep.checks(),
            ]
        young = time.monotonic() - self.began_at < BEGINS_S
        wrongs = [(f"relay:{self.code}", self.relay.trouble(after_s=30.0), self.relay.begins)]
        wrongs += [
            (f"consumer:{self.code}:{one.label}", one.trouble(after_s=15.0), one.begins) for one in self.heard
        ]
        wrongs.append((f"housekeeping:{self.code}", self.housekeeping.trouble(after_s=HOUSEKEEPING_S), False))
        found = [
            Check(name, wrong is None, wrong or "", tenant=self.code, begins=young and begins)
            for name, wrong, begins in wrongs
        ]
        found += self.upkeep.checks()
        tasks = [*self._tasks, *([self._relaying] if self._relaying is not None else [])]
        found += [
            Check(
                f"task:{self.code}:{task.get_name()}",
                ok=False,
                detail="has ended",
                fatal=True,
                tenant=self.code,
            )
            for task in tasks
            if task.done()
        ]
        return found

    def _go(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _reclaim(self, consumer: Consumer) -> None:
        try:
            while True:
                await asyncio.sleep(RECLAIM_EVERY_S)
                try:
                    while await consumer.reclaim():
                        pass
                except Exception as error:
                    if passing(error):
                        log.warning("reclaim failed", stream=consumer.stream, error=repr(error)[:300])
                    else:
                        log.error("reclaim is broken", stream=consumer.stream, exc_info=error)
        finally:
            await consumer.taken_over.end()


async def open_tenant_pool(
    settings: Settings, tenant: Tenant, service: str, budget: Budget | None = None
) -> Pool:
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
        budget=budget,
    )
