"""The jobs of the bank: requests that waited are done, what is due expires, members are told of what soon will."""

from __future__ import annotations

import asyncio

from services.redeem.handlers.asked import SettleAsked
from services.redeem.handlers.waking import asked_wait
from services.redeem.store import asked
from shared.runtime import TenantRuntime

POLL_S = 2.0
PAUSE_S = 0.05


async def do_waiting(runtime: TenantRuntime) -> None:
    """Does the requests whose accrual has come, as long as it runs: at once where this process knows of one that waits, and
    every two seconds whatever another one left behind."""
    waits = asked_wait(runtime.cache)
    while True:
        waits.wake.clear()
        async with runtime.read() as db:
            ready = await asked.ready(db)
            waits.any = bool(ready) or await asked.any_waits(db)
        await asyncio.gather(*[runtime.do(SettleAsked(request_id), job="asked") for request_id in ready])
        try:
            await asyncio.wait_for(waits.wake.wait(), PAUSE_S if ready else POLL_S)
        except TimeoutError:
            continue
