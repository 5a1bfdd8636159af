"""A lease that is renewed while its holder lives and takes long: so it may be short, and a dead holder's work waits no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog

from shared.messaging.faults import passing

log = structlog.get_logger(__name__)

RENEWALS = 3
"""Within a lease: two may be late, or fail, before it is over."""


class Lease:
    """`renew` is called every third of the lease while something is held; never where it is held for less.

    Where the holder has not got on for `at_most_s` it is renewed no more: it lives, and gets nowhere.
    """

    def __init__(
        self, lease_s: float, renew: Callable[[], Awaitable[None]], *, at_most_s: float = float("inf")
    ) -> None:
        self._every_s = lease_s / RENEWALS
        self._renew, self._at_most_s = renew, at_most_s

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Within, it is; what it gives is called where the holder got on. Costs a timer where it is not for long."""
        keeping: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        since = loop.time()

        def went_on() -> None:
            nonlocal since
            since = loop.time()

        def begin() -> None:
            nonlocal keeping
            keeping = loop.create_task(self._keep(lambda: since))

        timer = loop.call_later(self._every_s, begin)
        try:
            yield went_on
        finally:
            timer.cancel()
            if keeping is not None:
                keeping.cancel()

    async def _keep(self, since: Callable[[], float]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                if loop.time() - since() + self._every_s < self._at_most_s:
                    await self._renew()
            except Exception as error:
                if passing(error):
                    log.warning("a lease can't be renewed", error=repr(error)[:300])
                else:
                    log.error("renewing is broken", exc_info=error)
            await asyncio.sleep(self._every_s)
