"""A service: what it is called, hears, handles and serves; and its process, which follows the directory of tenants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from fastapi import APIRouter, FastAPI
from redis.exceptions import RedisError

from shared.budget import Budget, shortage
from shared.collecting import settle_garbage_collector
from shared.config import Settings
from shared.ending import end
from shared.http.app import create_app
from shared.http.runtime import Check
from shared.jobs import Job
from shared.log import configure as configure_logs
from shared.messaging.answers import refusal
from shared.messaging.bus import Bus, redis_client
from shared.messaging.clients import close_unused
from shared.messaging.commands import Handlers
from shared.messaging.faults import passing
from shared.messaging.keys import SERVICES
from shared.messaging.writer import Buried
from shared.metrics import Metrics
from shared.runtime import BEGINS_S, Blueprint, NextDue, TenantRuntime, nothing_due, open_tenant_pool
from shared.tenants.directory import SERVED, Directory, Listed
from shared.tending import Tending
from shared.traces import Traces, open_traces

log = structlog.get_logger(__name__)

FOLLOW_EVERY_S = 1.0
UNUSED_S = 10.0
"""A connection to Redis that nobody used for so long is closed."""
NOT_RELEASED = "`pointbank migrate` of this release has not been at every tenant yet"
AT_ONCE = 8
"""So many tenants are begun with side by side."""


def create_service(
    name: str,
    title: str,
    *,
    handlers: Handlers,
    hears: tuple[str, ...],
    routers: Sequence[APIRouter],
    jobs: tuple[Job, ...] = (),
    buried: Buried | None = None,
    next_due: NextDue = nothing_due,
    settings: Settings | None = None,
) -> FastAPI:
    """The service's app: its routes, and behind them its process for as long as the app runs."""
    chosen = settings or Settings()
    configure_logs(chosen.log)
    traces = open_traces(name)
    blueprint = Blueprint(
        name=name, handlers=handlers, hears=hears, jobs=jobs, buried=buried, next_due=next_due
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = Service(blueprint, chosen, app.state.metrics, traces)
        await service.start()
        app.state.runtime = service
        settle_garbage_collector()
        try:
            yield
        finally:
            await service.stop()
            if traces is not None:
                await asyncio.to_thread(traces.close)

    return create_app(title, routers, lifespan, service=name, settings=chosen, traces=traces)


@dataclass(slots=True)
class Served:
    """A tenant in the directory, and its runtime where it is being served."""

    state: str
    runtime: TenantRuntime | None = None
    trouble: str = ""
    since: float = field(default_factory=time.monotonic)
    """When it came into this state."""

    @property
    def begins(self) -> bool:
        """Whether it is being opened, and nothing is wrong so far."""
        return not self.trouble and time.monotonic() - self.since < BEGINS_S

    @property
    def rests(self) -> bool:
        """Whether nothing runs for it here, and nothing need."""
        return self.state == "active" and self.runtime is not None and self.runtime.resting


class Service:
    """A service's process. It serves every tenant of its cell that its code can serve, new ones within a second."""

    def __init__(
        self, blueprint: Blueprint, settings: Settings, metrics: Metrics, traces: Traces | None = None
    ) -> None:
        self._blueprint, self._settings, self._metrics = blueprint, settings, metrics
        self._traces = traces
        self._directory = Directory(settings, blueprint.name)
        self._redis = redis_client(settings.redis_url)
        self._relay_redis = redis_client(settings.relay_redis_url)
        self._bus = Bus(settings.redis_url, connections=2048)
        self._budget = Budget(settings.connections)
        self._catching_up = asyncio.Semaphore(max(1, settings.connections // 2))
        self._tending = Tending(settings, blueprint.name, self._redis)
        self._served: dict[str, Served] = {}
        self._following: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._trouble = "the directory was not read yet"
        self._released = self._opened = self._begun = False
        self._shortage: str | None = None
        self._reading = False

    async def start(self) -> None:
        """Begins to follow the directory. Neither PostgreSQL nor Redis need be there yet: /readyz says what is missing."""
        await self._directory.open()
        await self._begin_reading()
        self._tending.begin()
        await self._follow_once()
        self._following = asyncio.create_task(self._follow(), name="directory")

    async def _begin_reading(self) -> None:
        if self._reading:
            return
        try:
            await self._bus.start()
            self._reading = True
        except (RedisError, OSError) as error:
            self._trouble = f"Redis can't be reached: {error}"[:300]
            log.warning("waiting for Redis", error=str(error)[:300])

    async def stop(self) -> None:
        """Finishes what it holds, for every tenant at once."""
        if self._following is not None:
            await end([self._following])
        await self._tending.end()
        runtimes = [served.runtime for served in self._served.values() if served.runtime is not None]
        await asyncio.gather(*[runtime.stop() for runtime in runtimes], *self._ending)
        await self._bus.stop()
        await self._redis.aclose()
        await self._relay_redis.aclose()
        await self._directory.close()

    def tenant(self, code: str) -> TenantRuntime:
        """The tenant's runtime; refuses with tenant_forbidden, tenant_suspended, tenant_migrating or tenant_unavailable."""
        served = self._served.get(code)
        if served is None and self._trouble:
            raise refusal(
                "tenant_unavailable", "The tenants can't be read at present. Try again in a moment."
            )
        if served is None:
            raise refusal("tenant_forbidden", "There is no such tenant here.")
        if served.state in ("suspending", "suspended"):
            raise refusal(
                "tenant_suspended",
                "The tenant is suspended: nothing new is taken until its operator resumes it.",
            )
        if served.runtime is not None:
            served.runtime.use()
            return served.runtime
        if served.state == "migrating":
            raise refusal(
                "tenant_migrating", "The tenant's tables are being migrated. Try again in a minute."
            )
        raise refusal("tenant_unavailable", f"The tenant is not served at present ({served.state}).")

    def checks(self) -> Sequence[Check]:
        """What /readyz tells: the directory, whether the tables of this release are made, and each tenant's relay and consumers."""
        found = [
            Check("directory", not self._trouble, self._trouble),
            Check("tenants", self._opened, "" if self._opened else "not all were tried yet"),
            Check("release", self._released, "" if self._released else NOT_RELEASED),
            Check("connections", True, self._shortage or ""),  # told, no reason to serve nobody
        ]
        for code, served in self._served.items():
            found += self._checks_of(code, served)
        found += self._tending.checks()
        if self._following is not None and self._following.done():
            # Nobody is served anew, suspended or counted as not ready any more.
            found.append(Check("task:directory", ok=False, detail="has ended", fatal=True))
        # A process that starts is not ready while its tenants begin: of a release that can't begin with them there would be more.
        return found if self._begun else [check._replace(begins=False) for check in found]

    @staticmethod
    def _checks_of(code: str, served: Served) -> list[Check]:
        if served.state == "migrating":  # its own failure, not the others'
            return [Check(f"schema:{code}", True, served.trouble, tenant=code)]
        if served.runtime is not None:
            return served.runtime.checks()
        if served.state == "active":
            said = served.trouble or "starting"
            return [Check(f"tenant:{code}", False, said, tenant=code, begins=served.begins)]
        return []

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            await self._begin_reading()
            await self._follow_once()
            await self._close_unused()

    async def _close_unused(self) -> None:
        for client in (self._redis, self._relay_redis, *([self._bus.client] if self._reading else [])):
            await close_unused(client, idle_s=UNUSED_S)

    async def _follow_once(self) -> None:
        if not self._reading:
            return
        try:
            listed = await self._directory.tenants()
            # Once it was so it stays so: what an older release's command makes later is that tenant's affair.
            self._released = self._released or await self._directory.released()
            if self._shortage is None:
                await self._count_connections()
            self._trouble = ""
        except Exception as error:
            self._trouble = f"{type(error).__name__}: {error}"[:300]
            log.warning("the directory can't be read", error=self._trouble)
            return
        # Of another cell the streams are elsewhere; most are as they were a second ago.
        mine = [one for one in listed if one.tenant.cell == self._settings.cell and not self._is_kept(one)]
        for k in range(0, len(mine), AT_ONCE):
            await asyncio.gather(*[self._try_to_keep(one) for one in mine[k : k + AT_ONCE]])
        self._opened = True
        self._count_unready()

    def _count_unready(self) -> None:
        found = self._tending.checks()
        for code, served in self._served.items():
            if not served.rests:  # who rests wants nothing, and hundreds may
                found += self._checks_of(code, served)
        self._begun = self._begun or not any(check.begins for check in found)
        unready = {check.tenant for check in found if not check.ok}
        for code, served in self._served.items():
            self._metrics.unready(code, code in unready if served.state in SERVED else None)

    async def _count_connections(self) -> None:
        """Once: a server that is too small for all replicas is told of before the morning that needs them."""
        self._shortage = shortage(
            room=await self._directory.room(),
            services=len(SERVICES),
            replicas=self._settings.replicas,
            connections=self._settings.connections,
        )
        if self._shortage:
            log.warning("connection_budget_exceeded", what=self._shortage)

    def _is_kept(self, one: Listed) -> bool:
        served = self._served.get(one.tenant.code)
        if served is None or served.state != one.state or one.state not in ("active", "suspended"):
            return False
        runtime = served.runtime
        if one.state == "suspended":
            return runtime is None
        if runtime is None or runtime.closing:
            return False
        return runtime.tenant is one.tenant or runtime.tenant == one.tenant

    async def _try_to_keep(self, one: Listed) -> None:
        try:
            await self._keep(one)
        except Exception as error:
            served = self._served.setdefault(one.tenant.code, Served(one.state))
            served.trouble = f"{type(error).__name__}: {error}"[:300]
            level = log.warning if passing(error) else log.error
            level(
                "a tenant can't be served yet", tenant=one.tenant.code, error=served.trouble, exc_info=error
            )

    async def _keep(self, one: Listed) -> None:
        served = self._served.setdefault(one.tenant.code, Served(one.state))
        if served.state != one.state:
            served.state, served.since = one.state, time.monotonic()
        if one.state == "migrating":
            served.trouble = one.detail
        if one.state in SERVED and served.runtime is None:
            served.runtime = await self._begin(one)
            served.trouble = ""
        elif served.runtime is not None:
            # Resumed before it had settled it begins anew with its door open; moved while nobody looked, it begins where it is.
            if (
                one.state not in SERVED
                or (one.state == "active" and served.runtime.closing)
                or served.runtime.tenant != one.tenant
            ):
                runtime, served.runtime = served.runtime, None
                # By itself: a tenant whose server is away stops slowly, and others need not wait for it.
                ending = asyncio.create_task(self._end(runtime))
                self._ending.add(ending)
                ending.add_done_callback(self._ended)
            elif one.state == "suspending":
                await served.runtime.close_door()

    async def _end(self, runtime: TenantRuntime) -> None:
        await self._tending.let_go(runtime.code)
        await runtime.stop()
        if (served := self._served.get(runtime.code)) is None or served.runtime is None:
            self._metrics.let_go(runtime.code)

    def _ended(self, ending: asyncio.Task[None]) -> None:
        self._ending.discard(ending)
        if not ending.cancelled() and (error := ending.exception()) is not None:
            log.error("a tenant did not stop in order", error=repr(error)[:300], exc_info=error)

    async def _begin(self, one: Listed) -> TenantRuntime:
        pool = await open_tenant_pool(self._settings, one.tenant, self._blueprint.name, self._budget)
        runtime = TenantRuntime(
            self._blueprint,
            one.tenant,
            settings=self._settings,
            pool=pool,
            redis=self._redis,
            relay_redis=self._relay_redis,
            bus=self._bus,
            directory=self._directory,
            metrics=self._metrics,
            traces=self._traces,
            catching_up=self._catching_up,
        )
        runtime.closing = one.state == "suspending"
        try:
            await self._tending.keep(runtime)
        except BaseException:
            await runtime.stop()
            raise
        log.info("serving tenant", tenant=one.tenant.code)
        return runtime
