"""The job that settles: what was heard before its programme, and wallets that a new version has not judged."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from services.tiers import store
from services.tiers.handlers import Settle, settle_wake
from shared.runtime import TenantRuntime

POLL_S = 5.0
PAUSE_S = 0.05


async def settle_all(runtime: TenantRuntime) -> None:
    """Settles in short transactions until nothing is left, then waits for a programme to be learned, or a moment."""
    wake = settle_wake(runtime.cache)
    while True:
        wake.clear()
        async with runtime.read() as db:
            unsettled = await store.unsettled(db)
        for programme, version in unsettled:
            await runtime.do(Settle(programme, version), job="settle")
        # Another process may hold what is left: ask again, but not in a spin.
        pause = PAUSE_S if unsettled else POLL_S
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await wake.wait()
