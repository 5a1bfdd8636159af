"""Messages that this process has just made, on their way to its own sender: what is in memory need not be read again.

They are leased when they are made. A process that dies loses its lease, not its messages: another sender claims them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from services.notifier.store import Claimed

LEASE = timedelta(seconds=20)
START_WITHIN_S = 6.0
SEND_WITHIN_S = 7.0
"""Of a lease: a third to begin, a third to send, a third to settle. Nobody sends what another may be sending already."""
AT_ONCE = 500
MOST = 4 * AT_ONCE


class Outgoing:
    """What the sender of this process has to do. `wake` is set when there is more; its poll is the second guard."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._batches: deque[tuple[float, Sequence[Claimed]]] = deque()
        self._count = 0

    @property
    def lease(self) -> timedelta | None:
        """The lease for messages that are being made; None when there is enough to do: they wait to be claimed."""
        return LEASE if self._count < MOST else None

    def put(self, batch: Sequence[Claimed], made_at: float) -> None:
        """Takes a committed batch, leased at `made_at` (time.monotonic)."""
        if batch:
            self._batches.append((made_at, batch))
            self._count += len(batch)
        self.wake.set()

    def take(self) -> tuple[list[Claimed], list[Claimed]]:
        """Up to about AT_ONCE messages to send now, and those to hand back: too late to begin, early enough to say so."""
        taken: list[Claimed] = []
        late: list[Claimed] = []
        while self._batches and len(taken) + len(late) < AT_ONCE:
            made_at, batch = self._batches.popleft()
            self._count -= len(batch)
            age = time.monotonic() - made_at
            if age < START_WITHIN_S:
                taken += batch
            elif age < START_WITHIN_S + SEND_WITHIN_S:
                late += batch
        return taken, late


def outgoing(cache: dict[Any, Any]) -> Outgoing:
    """The one of this tenant in this process."""
    found = cache.get(Outgoing)
    if found is None:
        found = cache[Outgoing] = Outgoing()
    assert isinstance(found, Outgoing)
    return found
