"""`pointbank expire`: the bank's sweep from the command line, with the bank's own lane and role, beside running services."""

from __future__ import annotations

from collections.abc import Callable

from pointbank.desk import open_desk
from services.redeem.domain.sweep import Swept
from services.redeem.sweeping import dry_run, tell_of_expiry, walk
from shared.clock import Clock, real_clock
from shared.config import Settings


async def expire_tenant(
    settings: Settings,
    tenant: str,
    *,
    only_look: bool,
    say: Callable[[dict[str, Swept]], None] | None = None,
    clock: Clock = real_clock,
) -> tuple[list[Swept], int]:
    """What expired (or with `only_look` would have), by programme, and how many notices were given."""
    async with open_desk(settings, tenant, clock=clock) as desk:
        if only_look:
            swept, told = await dry_run(desk, say=say), 0
        else:
            swept = await walk(desk, say=say)
            told = await tell_of_expiry(desk)
    return [found for _, found in sorted(swept.items())], told
