"""Messages that this process has in hand: those it has just made, on their way to its own sender, and those it has claimed.

They are leased. A process that dies loses its lease, not its messages: another sender claims them. One that lives renews it for as
long as it sends and settles.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.notifier.store import Made

LEASE_S = 6.0
LEASE = timedelta(seconds=LEASE_S)
BEGIN_WITHIN_S = LEASE_S / 2
"""Of a lease that is not renewed yet: the first renewal comes a third of it after the beginning, and may be late."""
KNOWN_FOR_S = 6.0
SEND_WITHIN_S = 7.0
"""Consent is read when messages are made or claimed: sending begins KNOWN_FOR_S later at most, and ends within SEND_WITHIN_S, or
with the lease. Nobody sends what another may be sending already."""
AT_ONCE = 1000
"""Twice what a batch of the lane makes: a sender waits for the batch after the one that runs to have its own settled."""
MOST = 2 * AT_ONCE


@dataclass(slots=True, eq=False)
class Held:
    """Messages under one lease. `known_at`: when their consent was read; `leased_at`: when the lease began, or was renewed last
    (time.monotonic, both)."""

    messages: Sequence[Made]
    known_at: float
    leased_at: float

    def in_time(self) -> bool:
        """Whether sending them may begin."""
        now = time.monotonic()
        return now - self.known_at < KNOWN_FOR_S and now - self.leased_at < BEGIN_WITHIN_S


class Outgoing:
    """What the sender of this process has to do. `wake` is set when there is more; its poll is the second guard.

    `claimed_at` is when it last asked the table for what nobody holds, `failed_at` when it last could not (time.monotonic);
    `turn` counts how often it asked.
    """

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.claimed_at = time.monotonic()
        self.failed_at = float("-inf")
        self.turn = 0
        self._dispatches: deque[Held] = deque()
        self._in_hand: list[Held] = []
        self._limits: dict[asyncio.Timeout, float] = {}
        self._count = 0

    @property
    def lease(self) -> timedelta | None:
        """The lease for messages that are being made; None when there is enough to do: they wait to be claimed."""
        return LEASE if self._count < MOST else None

    @property
    def grace(self) -> timedelta:
        """How long a lease of others must be over before it is taken: while PostgreSQL was away nobody could renew, and each has
        the time to do so now."""
        return LEASE if time.monotonic() - self.failed_at < LEASE_S else timedelta(0)

    def put(self, dispatch: Sequence[Made], made_at: float) -> None:
        """Takes a committed dispatch, leased at `made_at` (time.monotonic)."""
        if dispatch:
            self._dispatches.append(Held(dispatch, made_at, made_at))
            self._count += len(dispatch)
        self.wake.set()

    def take(self) -> tuple[list[Made], list[Made]]:
        """Up to about AT_ONCE messages to send now, and those to hand back because it is too late to begin."""
        taken: list[Made] = []
        late: list[Made] = []
        while self._dispatches and len(taken) + len(late) < AT_ONCE:
            one = self._dispatches.popleft()
            self._in_hand.append(one)
            self._count -= len(one.messages)
            (taken if one.in_time() else late).extend(one.messages)
        return taken, late

    def claimed(self, messages: Sequence[Made], at: float) -> None:
        """These came from the table instead, leased at `at` (time.monotonic)."""
        if messages:
            self._in_hand.append(Held(messages, at, at))

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While it reads what it needs to send what it has taken. Where that fails, what it has in hand is put back: its
        lease goes on, and nobody else will take it before it ends."""
        self._in_hand.clear()
        try:
            yield
        except BaseException:
            self.failed_at = time.monotonic()
            self._dispatches.extendleft(reversed(self._in_hand))
            self._count += sum(len(one.messages) for one in self._in_hand)
            self._in_hand.clear()
            raise

    def done(self) -> None:
        """What it had in hand is settled, or left to its lease."""
        self._in_hand.clear()

    # ------------------------------------------------------------ the lease

    @property
    def held(self) -> list[Held]:
        """All that is leased to this process: in hand, and on its way."""
        return [*self._in_hand, *self._dispatches]

    def renewed(self, held: Sequence[Held], at: float) -> None:
        """These are leased anew since `at` (time.monotonic)."""
        for one in held:
            one.leased_at = at
        for limit, most in self._limits.items():
            if not limit.expired():
                limit.reschedule(self._limit(most))

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Within, what is in hand is being sent. TimeoutError after SEND_WITHIN_S, or where the lease ends before."""
        most = time.monotonic() + SEND_WITHIN_S
        async with asyncio.timeout_at(self._limit(most)) as limit:
            self._limits[limit] = most
            try:
                yield
            finally:
                del self._limits[limit]

    def _limit(self, most: float) -> float:
        """That moment, or the end of the lease of what is in hand (time.monotonic), by the clock of the loop."""
        until = min([most, *[one.leased_at + LEASE_S for one in self._in_hand]])
        return asyncio.get_running_loop().time() + until - time.monotonic()


def outgoing(cache: dict[Any, Any]) -> Outgoing:
    """The one of this tenant in this process."""
    found = cache.get(Outgoing)
    if found is None:
        found = cache[Outgoing] = Outgoing()
    assert isinstance(found, Outgoing)
    return found
