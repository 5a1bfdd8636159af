"""A reconciliation that calls ask for, a portion a call: the first thing is a seal of what is new, and calls wait for it by turns
(sealing_on_call.py)."""

from __future__ import annotations

from typing import Any

from services.redeem.jobs.reconciling import BEGIN, Enough, ReconcilePlace, Total, portion
from services.redeem.jobs.sealing_on_call import Wanted, begin_run, wait_for_seal
from shared.messaging.commands import Item
from shared.runtime import TenantRuntime


async def portion_on_call(
    runtime: TenantRuntime,
    place: ReconcilePlace | None,
    enough: Enough,
    *,
    item: Item[Any],
    within_s: float,
) -> tuple[Total, ReconcilePlace | None]:
    """A portion from a place on, None: a run that begins now; and where to go on. It waits for the seal so many seconds at most;
    `item` says who asked for it."""
    resumed, place = place is not None, place or ReconcilePlace("sealing", await begin_run(runtime))
    if place.sealing is not None:
        wanted = Wanted(place.sealing, item, dry_run=False, whole=False, resumed=resumed, exported=False)
        if await wait_for_seal(runtime, wanted, within_s=within_s) is None:
            return Total(), place
        place = BEGIN
    return await portion(runtime, place, enough)
