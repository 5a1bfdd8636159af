"""The job that drops what guards have counted, once no bill can come that it would be counted with."""

from __future__ import annotations

import structlog

from services.earn.handlers.guarding import ThinSightings
from services.earn.store import reviews as store
from shared.messaging import Done
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

EVERY_S = 3_600.0


async def thin_sightings(runtime: TenantRuntime) -> None:
    """One turn: some thousand in a transaction, until nothing is left. Safe at any time, twice and on several machines."""
    async with runtime.read() as db:
        if not await store.any_sighting(db):
            return
    dropped = 0
    while True:
        outcome = await runtime.do(ThinSightings(), job="thin-sightings")
        assert isinstance(outcome, Done), outcome
        if not (now := int(outcome.body)):
            break
        dropped += now
    if dropped:
        log.info("sightings were thinned", tenant=runtime.code, dropped=dropped)
