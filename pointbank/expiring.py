"""`pointbank expire`: the bank's sweep from the command line, with the bank's own lane and role, beside running services."""

from __future__ import annotations

from collections.abc import Callable

from pointbank.desk import open_desk
from services.redeem.domain.sweep import Swept
from services.redeem.store.noticing import ToTell
from services.redeem.sweeping import dry_run, walk
from services.redeem.telling_expiry import tell_of_expiry, would_tell_of_expiry
from shared.clock import Clock, real_clock
from shared.config import Settings


async def expire_tenant(
    settings: Settings,
    tenant: str,
    *,
    only_look: bool,
    say: Callable[[dict[str, Swept]], None] | None = None,
    say_told: Callable[[int], None] | None = None,
    say_to_tell: Callable[[list[ToTell]], None] | None = None,
    clock: Clock = real_clock,
) -> tuple[list[Swept], int]:
    """What expired, by programme, and how many notices were given; with `only_look` what would expire, and would be:
    then `say_to_tell` hears of the notices, a step's at a time."""
    async with open_desk(settings, tenant, clock=clock) as desk:
        if only_look:
            swept = await dry_run(desk, say=say)
            told = await would_tell_of_expiry(desk, say=say_to_tell)
        else:
            swept = await walk(desk, say=say)
            told = await tell_of_expiry(desk, say=say_told)
    return [found for _, found in sorted(swept.items())], told
