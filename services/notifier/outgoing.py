"""Messages that this process has just made, on their way to its own sender: what is in memory need not be read again.

They are leased when they are made. A process that dies loses its lease, not its messages: another sender claims them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from services.notifier.store import Made

LEASE = timedelta(seconds=20)
START_WITHIN_S = 6.0
SEND_WITHIN_S = 7.0
"""Of a lease: a third to begin, a third to send, a third to settle. Nobody sends what another may be sending already."""
AT_ONCE = 1000
"""Twice what a batch of the lane makes: a sender waits for the batch after the one that runs to have its own settled."""
MOST = 2 * AT_ONCE

Claimed = tuple[float, Sequence[Made]]
"""Messages under one lease, and when it began (time.monotonic)."""


class Outgoing:
    """What the sender of this process has to do. `wake` is set when there is more; its poll is the second guard.

    `claimed_at` is when it last asked the table for what nobody holds (time.monotonic), `turn` counts how often.
    """

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.claimed_at = time.monotonic()
        self.turn = 0
        self._dispatches: deque[Claimed] = deque()
        self._in_hand: list[Claimed] = []
        self._count = 0

    @property
    def lease(self) -> timedelta | None:
        """The lease for messages that are being made; None when there is enough to do: they wait to be claimed."""
        return LEASE if self._count < MOST else None

    def put(self, dispatch: Sequence[Made], made_at: float) -> None:
        """Takes a committed dispatch, leased at `made_at` (time.monotonic)."""
        if dispatch:
            self._dispatches.append((made_at, dispatch))
            self._count += len(dispatch)
        self.wake.set()

    def take(self) -> tuple[list[Made], list[Made]]:
        """Up to about AT_ONCE messages to send now, and those to hand back because it is too late to begin."""
        taken: list[Made] = []
        late: list[Made] = []
        while self._dispatches and len(taken) + len(late) < AT_ONCE:
            made_at, dispatch = self._dispatches.popleft()
            self._in_hand.append((made_at, dispatch))
            self._count -= len(dispatch)
            in_time = time.monotonic() - made_at < START_WITHIN_S
            (taken if in_time else late).extend(dispatch)
        return taken, late

    def claimed(self, messages: Sequence[Made], at: float) -> None:
        """These came from the table instead, leased at `at` (time.monotonic)."""
        if messages:
            self._in_hand.append((at, messages))

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While it reads what it needs to send what it has taken. Where that fails, what it has in hand is put back: its
        lease goes on, and nobody else will take it before it ends."""
        self._in_hand.clear()
        try:
            yield
        except BaseException:
            self._dispatches.extendleft(reversed(self._in_hand))
            self._count += sum(len(messages) for _, messages in self._in_hand)
            raise
        finally:
            self._in_hand.clear()


def outgoing(cache: dict[Any, Any]) -> Outgoing:
    """The one of this tenant in this process."""
    found = cache.get(Outgoing)
    if found is None:
        found = cache[Outgoing] = Outgoing()
    assert isinstance(found, Outgoing)
    return found
