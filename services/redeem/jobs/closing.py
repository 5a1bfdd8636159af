"""The job that closes the months of the ledger that are over, the oldest first."""

from __future__ import annotations

import asyncio

import structlog

from services.redeem.handlers.close import OPEN, CloseMonth
from services.redeem.store import closing
from shared.messaging import Done
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

EVERY_S = 600.0
_POLL_S = 0.2
_MOST_POLLS = 100


async def close_months(runtime: TenantRuntime) -> None:
    """Closes every month that is due; may run beside other processes that do it too, and ends early where it must wait."""
    while True:
        async with runtime.read() as db:
            as_of = await closing.due(db)
        if as_of is None or not await _settled(runtime):
            return
        while True:
            outcome = await runtime.do(CloseMonth(as_of), job="close")
            assert isinstance(outcome, Done), outcome
            if outcome.body != OPEN:
                break
        log.info("a month is closed", tenant=runtime.code, as_of=as_of.isoformat())


async def _settled(runtime: TenantRuntime) -> bool:
    """Whether everything has ended that was running now. The month has been over for long: whoever read PostgreSQL's clock
    within it is among these, for that is done under a wallet's lock, which a transaction has no earlier than its id."""
    async with runtime.read() as db:
        newest = await closing.newest(db)
    for _ in range(_MOST_POLLS):
        async with runtime.read() as db:
            if await closing.oldest_running(db) > newest:
                return True
        await asyncio.sleep(_POLL_S)
    log.warning("a month can't be closed while an old transaction runs", tenant=runtime.code)
    return False
