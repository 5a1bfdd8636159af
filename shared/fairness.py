"""Who goes first where tenants share a process: who has had little of it goes before who has had much.

A tenant with much to do fills the event loop, and whatever another asks waits behind it at every round trip. So work is done in
some tenant's share, and between its steps (after each answer of PostgreSQL) it gives way to the work that those have in hand who
have had far less of late; its steps are small while they are here. Nobody starves: who gives way has less, and so more right to
go on. A tenant alone in a process is asked for nothing (docs/decisions/0201).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

FADES_S = 1.0
"""What was had so long ago counts for a third."""
LOUD = 200.0
"""Who has had fewer items of late gives way to nobody."""
FAR_LESS = 4.0
"""Who has had so many times what another has gives way to it."""
HERE_S = 1.0
"""Who began something so long ago is still here: the steps of who is loud stay small."""
STALE_S = 0.25
"""Who has begun nothing for so long, and has something in hand, waits for a lock or a server: nobody gives way to it."""
MOST_S = 0.05
"""So long a step gives way at most."""
FEW = 16
"""Items of a step of who is loud while others are here."""


class Share:
    """What one tenant has of this process."""

    __slots__ = ("_at", "_gave_way_s", "_had", "_now", "begun_at", "in_hand", "one")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._had, self._at, self._gave_way_s = 0.0, now(), 0.0
        self.one = asyncio.Lock()
        """Held by the batch that is written, where batches of all services would be in the way of others."""
        self.in_hand = 0
        """Pieces of work: calls and batches."""
        self.begun_at = float("-inf")

    def had(self) -> float:
        """Items of late, the less the longer ago they were."""
        now = self._now()
        self._had *= math.exp((self._at - now) / FADES_S)
        self._at = now
        return self._had

    def take(self, items: int) -> None:
        """So many more."""
        self._had = self.had() + items

    def waited(self, seconds: float) -> None:
        """It has given way for so long."""
        self._gave_way_s += seconds

    def told(self) -> float:
        """For how many seconds it gave way since this was last asked, all its steps together."""
        seconds, self._gave_way_s = self._gave_way_s, 0.0
        return seconds


class Fairness:
    """The shares of one process."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._shares: dict[str, Share] = {}
        self._working: set[Share] = set()
        self._ended: asyncio.Future[None] | None = None

    def share(self, tenant: str) -> Share:
        """That tenant's, whichever services of the process it uses."""
        found = self._shares.get(tenant)
        if found is None:
            found = self._shares[tenant] = Share(self._now)
        return found

    def forget(self, tenant: str) -> None:
        """It is not served here any more."""
        self._shares.pop(tenant, None)

    @property
    def several(self) -> bool:
        """Whether more than one tenant has something in hand."""
        return len(self._working) > 1

    def begin(self, share: Share) -> None:
        """It has one more piece of work in hand, until `end`."""
        share.begun_at = self._now()
        share.in_hand += 1
        self._working.add(share)

    def end(self, share: Share) -> None:
        """One piece of its work is done; who gave way to it looks again."""
        share.in_hand -= 1
        if share.in_hand:
            return
        self._working.discard(share)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    @contextmanager
    def working(self, share: Share) -> Iterator[None]:
        """What is done within is work of this share, in hand for as long."""
        before = _mine.set(share)
        self.begin(share)
        try:
            yield
        finally:
            self.end(share)
            _mine.reset(before)

    def step(self, share: Share, items: int) -> int:
        """How many of these items the share should do at once."""
        return min(items, FEW) if items > FEW and self._in_the_way(share) else items

    @asynccontextmanager
    async def batch(self, share: Share) -> AsyncIterator[None]:
        """A batch is written within: one after the other, of all the services of this process, where they would be in the way."""
        held = self._in_the_way(share) and await self._alone(share)
        try:
            await self.give_way(share)
            with self.working(share):
                yield
        finally:
            if held:
                share.one.release()

    @staticmethod
    async def _alone(share: Share) -> bool:
        """Takes `share.one`; False where the batch that has it is stuck, which is no reason for others to be."""
        try:
            async with asyncio.timeout(STALE_S):
                await share.one.acquire()
        except TimeoutError:
            return False
        return True

    def _in_the_way(self, share: Share) -> bool:
        if len(self._shares) < 2 or (mine := share.had()) < LOUD:
            return False
        here = self._now() - HERE_S
        return any(
            other.begun_at > here and other.had() * FAR_LESS < mine
            for other in self._shares.values()
            if other is not share
        )

    async def give_way(self, share: Share | None = None) -> None:
        """Returns when nobody goes before this share, or after MOST_S. Without one: the share that this task works in."""
        if len(self._working) < 2 or (share := share or _mine.get()) is None or not self._goes_first(share):
            return
        began = self._now()
        while (left := began + MOST_S - self._now()) > 0 and self._goes_first(share):
            if self._ended is None or self._ended.done():
                self._ended = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._ended], timeout=left)
        share.waited(self._now() - began)

    def _goes_first(self, share: Share) -> bool:
        """Whether another does."""
        if (mine := share.had()) < LOUD:
            return False
        fresh = self._now() - STALE_S
        return any(
            other is not share and other.begun_at > fresh and other.had() * FAR_LESS < mine
            for other in self._working
        )


FAIRNESS = Fairness()
"""Of this process: one event loop."""

_mine: ContextVar[Share | None] = ContextVar("share", default=None)


def work_in(share: Share) -> None:
    """What this task does from now on is done in that share."""
    _mine.set(share)
