"""What a service does for a tenant every so often, each job in its own time, beside other processes that do it too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from shared.messaging.faults import passing

if TYPE_CHECKING:
    from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Runs `every_s` seconds after it has ended, the first time `first_after_s` after the process began with the tenant.
    `endless`: it waits by itself for what there is to do, and returns only where it fails."""

    name: str
    every_s: float
    run: Callable[[TenantRuntime], Awaitable[None]]
    first_after_s: float = 0.0
    endless: bool = False


class Rota:
    """A tenant's jobs. Stopped and begun again, each keeps its time; one that was broken off is due at once."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        now = time.monotonic()
        self._jobs = jobs
        self._due = {job.name: now + job.first_after_s for job in jobs}
        self._began = dict.fromkeys(self._due, float("-inf"))
        self._running: set[str] = set()
        self._failed: set[str] = set()
        """Jobs whose last run did not come to its end."""

    def tasks(self, runtime: TenantRuntime) -> list[asyncio.Task[None]]:
        """One for each job, until it is cancelled."""
        self._running.clear()
        return [asyncio.create_task(self._repeat(job, runtime), name=job.name) for job in self._jobs]

    @property
    def busy(self) -> bool:
        """Whether a job that comes to an end is under way, or due."""
        now = time.monotonic()
        return any(
            job.name in self._running or self._due[job.name] <= now for job in self._jobs if not job.endless
        )

    def next_at(self, used_at: float) -> float:
        """When a job must run though nothing happens: the next that has not run since then, or that failed; monotonic seconds."""
        return min(
            (
                self._due[job.name]
                for job in self._jobs
                if not job.endless and (job.name in self._failed or self._began[job.name] < used_at)
            ),
            default=float("inf"),
        )

    async def run_due(self, runtime: TenantRuntime) -> None:
        """Runs those that come to an end and are due, one after the other; of a tenant that has no tasks of ours."""
        self._running.clear()
        for job in self._jobs:
            if not job.endless and self._due[job.name] <= time.monotonic():
                await self._run(job, runtime)

    async def _repeat(self, job: Job, runtime: TenantRuntime) -> None:
        while True:
            await asyncio.sleep(self._due[job.name] - time.monotonic())
            await self._run(job, runtime)

    async def _run(self, job: Job, runtime: TenantRuntime) -> None:
        self._began[job.name] = time.monotonic()
        self._running.add(job.name)
        self._failed.add(job.name)
        try:
            await job.run(runtime)
            self._failed.discard(job.name)
        except Exception as error:
            if passing(error):
                log.warning("job failed", job=job.name, tenant=runtime.code, error=repr(error)[:300])
            else:
                runtime.metrics.failed(runtime.code, error)
                log.error("job is broken", job=job.name, tenant=runtime.code, exc_info=error)
        self._running.discard(job.name)
        self._due[job.name] = time.monotonic() + job.every_s
