"""What one handler of a process leaves for another to know. Hints only: whoever they are for also looks by itself."""

from __future__ import annotations

import asyncio
from typing import Any


class AskedWait:
    """Requests of earn that wait for their accrual; `any` as far as this process knows."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.any = False

    def begin(self) -> None:
        """One more waits, or may: look."""
        self.any = True
        self.wake.set()


def asked_wait(cache: dict[Any, Any]) -> AskedWait:
    """Of this tenant, in this process."""
    found: AskedWait | None = cache.get(AskedWait)
    if found is None:
        found = cache[AskedWait] = AskedWait()
    return found
