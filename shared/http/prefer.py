"""`Prefer: wait=<seconds>` (RFC 7240) on asynchronous writes: the answer is the row, and a waiter polls it.

One query asks for all waiters of a tenant, after 20 to 200 ms; a hint wakes it sooner, and may be lost. So any replica can
hold the call.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

from fastapi.requests import HTTPConnection

MOST_S = 30.0
"""No call is held for longer; who asks for more is answered 202 then, and asks again."""

SHORTEST_S, LONGEST_S = 0.02, 0.2

_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*"?([0-9]{1,6})"?\s*(?:$|[,;])', re.IGNORECASE)

Closed = Callable[[Collection[UUID]], Awaitable[Collection[UUID]]]


def preferred_wait_s(connection: HTTPConnection) -> float:
    """For how long the caller wants to wait for the outcome; 0 where it does not say so."""
    for given in connection.headers.getlist("prefer"):
        if found := _WAIT.search(given):
            return min(float(found[1]), MOST_S)
    return 0.0


class Waiters:
    """The calls of one tenant that wait until their rows are closed. `closed` asks which of some are."""

    def __init__(self, closed: Closed, wake: asyncio.Event) -> None:
        self._closed, self._wake = closed, wake
        self._waiting: dict[UUID, list[asyncio.Future[None]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def wait(self, key: UUID, *, seconds: float) -> bool:
        """Whether the row is closed, at the latest after so long."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        self._wake.set()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return False
        finally:
            mine = self._waiting.get(key, [])
            if future in mine:
                mine.remove(future)
            if not mine:
                self._waiting.pop(key, None)
        return True

    async def _ask(self) -> None:
        pause = SHORTEST_S
        while self._waiting:
            if self._wake.is_set():
                self._wake.clear()
                pause = SHORTEST_S
            for key in await self._closed(list(self._waiting)):
                for future in self._waiting.pop(key, []):
                    if not future.done():
                        future.set_result(None)
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                pause = min(pause * 1.5, LONGEST_S)

    def _asked(self, asking: asyncio.Task[None]) -> None:
        """Who waits learns of an error; the next one begins anew."""
        error = None if asking.cancelled() else asking.exception()
        if error is None:
            return
        for future in [one for futures in self._waiting.values() for one in futures]:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
