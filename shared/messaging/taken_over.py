"""What a consumer took over from others and is being written. What waits there for long is left to itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from shared.ending import end

WAITS_S = 1.0
AT_ONCE = 8
"""So many batches are in hand: while PostgreSQL is away no more are taken over than it can be told of soon."""


class TakenOver:
    """Batches that were taken over. What one waits for (a lock, what was not heard yet) may be in what is still to be taken over,
    from another that died: so the next is not kept waiting for it."""

    def __init__(self) -> None:
        self._in_hand: set[asyncio.Task[None]] = set()

    async def take(self, work: Coroutine[Any, Any, None]) -> None:
        """Begins this work; returns when it is done, or waits, and there is room for the next. Raises what ends it till then."""
        begun = asyncio.create_task(work)
        self._in_hand.add(begun)
        begun.add_done_callback(self._in_hand.discard)
        await asyncio.wait([begun], timeout=WAITS_S)
        if begun.done():
            begun.result()
        while len(self._in_hand) >= AT_ONCE:
            await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)

    async def end(self) -> None:
        """Waits for none of it any more: it is written or not, and pending until somebody acknowledges it."""
        await end(self._in_hand)
