"""The alert about a machine's clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.soak.alarms.site import Site
from tests.support.skew import machine_off


async def a_clock_is_wrong(site: Site) -> None:
    """A process of tiers is started where it is an hour later, and then where it is not."""
    fleet = site.world.fleet
    wrong = machine_off(timedelta(hours=1))
    assert wrong is not None, "libfaketime is not installed (Debian's package faketime has it)"
    [tiers] = fleet.of("tiers")
    instance = f"127.0.0.1:{tiers.port}"

    async def anew(environment: dict[str, str]) -> dict[str, bool]:
        await asyncio.to_thread(fleet.stop, tiers.name)
        replica = await asyncio.to_thread(fleet.start, tiers.name, environment)
        await asyncio.to_thread(fleet.wait_ready, *site.towns, names=[tiers.name])
        return replica.ready_checks()

    told = {f"clock:{name}" for name in site.towns}
    assert told <= (await anew(wrong)).keys()
    await site.watch.fires("PointbankClockWrong", 6, service="tiers", instance=instance)
    assert not told & (await anew({})).keys()
    await site.watch.goes("PointbankClockWrong", 2, service="tiers", instance=instance)
