"""Calls of a burst begin a few at a turn of the event loop (docs/decisions/0219).

When a batch is written all its callers are answered at once, and ask again at once. If all of them begin in one turn of the loop,
what PostgreSQL has answered meanwhile lies unread until the last has begun, and the next batch with it.
"""

from __future__ import annotations

import asyncio
from collections import deque

FEW = 4
"""Some 0.3 ms of work."""


class Turnstile:
    """Lets calls in, in the order they come, `few` at each turn of the event loop. For one loop."""

    def __init__(self, few: int = FEW) -> None:
        self._few = self._left = few
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turns = False

    def enter(self) -> asyncio.Future[None] | None:
        """None: come in. Else wait for this first."""
        loop = asyncio.get_running_loop()
        if not self._turns:
            self._turns = True
            loop.call_soon(self._turn)
        if self._left:
            self._left -= 1
            return None
        turn = loop.create_future()
        self._waiting.append(turn)
        return turn

    def _turn(self) -> None:
        self._left = self._few
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():  # its caller may have gone
                turn.set_result(None)
                self._left -= 1
        if self._waiting or not self._left:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._turns = False
