"""When a tenant may rest, and what is done for one at rest when it is looked at (docs/decisions/0171, 0209)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.messaging.queries import queries

if TYPE_CHECKING:
    from shared.runtime import TenantRuntime

PARTITIONS_EVERY_S = 3600.0
"""Of a tenant at rest: they are made a day ahead, or more."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What ends a rest: an entry in these streams after these ids, or that time (monotonic seconds; inf: none)."""

    streams: dict[str, str]
    until: float


async def look(runtime: TenantRuntime) -> Rest | None:
    """Does once what is due for a tenant at rest, one thing after the other on one connection; None where it must be woken, for
    its readers and its relay. May be broken off anywhere, as they may."""
    began = time.monotonic()
    if runtime.housekeeping.partitions_due(PARTITIONS_EVERY_S):
        await runtime.housekeeping.prepare()
    if await runtime.relay.look():
        return None
    streams = await standing(runtime)
    if streams is None or not await _may_be_heard(runtime):
        return None
    await runtime.housekeeping.look(streams)
    await runtime.rota.run_due(runtime)
    return await may_rest(runtime, streams, began=began)


async def standing(runtime: TenantRuntime) -> dict[str, str] | None:
    """The ids at which its groups stand, by stream; None where one is missing, or one of its readers holds something."""
    streams: dict[str, str] = {}
    for consumer in runtime.heard:
        at = await consumer.stands_at(runtime.bus)
        if at is None:
            return None
        streams[consumer.stream] = at
    return streams


async def may_rest(runtime: TenantRuntime, streams: dict[str, str], *, began: float) -> Rest | None:
    """Until when, unless something waits to be done that these streams do not show; then None. `began`: what used it since then
    (monotonic seconds) keeps it awake."""
    if runtime.relay.trouble(after_s=30.0) or runtime.used_at > began or not runtime.lane.idle:
        return None
    now = runtime.clock()
    async with runtime.pool.acquire() as db:
        asked = await queries.asked_retries(db, under_way=[], most=1)
        due = await runtime.blueprint.next_due(db, now)
    until = runtime.rota.next_at(runtime.used_at)
    if asked or (due is not None and due <= now):
        return None
    if due is not None:
        until = min(until, time.monotonic() + (due - now).total_seconds())
    return Rest(streams, until)


async def _may_be_heard(runtime: TenantRuntime) -> bool:
    for consumer in runtime.heard:
        if not await consumer.may_begin():
            return False
    return True
