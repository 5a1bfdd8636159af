"""The alert about a machine's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from tests.soak.alarms.site import Site
from tests.support.processes import Replica
from tests.support.skew import machine_off


async def a_clock_is_wrong(site: Site) -> None:
    """A process of tiers is started where it is an hour later, and then where it is not."""
    fleet, name = site.world.fleet, "pool"
    wrong = machine_off(timedelta(hours=1))
    assert wrong is not None, "libfaketime is not installed (Debian's package faketime has it)"
    [tiers] = fleet.of("tiers")
    instance = f"127.0.0.1:{tiers.port}"

    async def anew(environment: Mapping[str, str], *, bills: int) -> Replica:
        """Started anew, and something sold: of a tenant that rests clocks are compared seldom."""
        await asyncio.to_thread(fleet.stop, tiers.name)
        replica = await asyncio.to_thread(fleet.start, tiers.name, environment)
        await asyncio.to_thread(fleet.wait_ready, name, names=[tiers.name])
        await site.ring_up(name, bills)
        return replica

    replica = await anew(wrong, bills=5)
    await site.watch.fires("PointbankClockWrong", 6, service="tiers", instance=instance)
    assert f"clock:{name}" in replica.ready_checks()
    replica = await anew({}, bills=10)
    await site.watch.goes("PointbankClockWrong", 2, service="tiers", instance=instance)
    assert f"clock:{name}" not in replica.ready_checks()
