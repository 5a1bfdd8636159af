"""`pointbank expire` and `notices`: the bank's sweeps from the command line, with the bank's own lane and role, beside running
services."""

from __future__ import annotations

from collections.abc import Callable

from pointbank.desk import open_desk
from services.redeem.domain.sweep import Swept, ToExpire
from services.redeem.jobs.sweeping import dry_run, walk
from services.redeem.jobs.telling_expiry import tell_of_expiry, would_tell_of_expiry
from services.redeem.store.noticing import ToTell
from shared.clock import Clock
from shared.config import Settings


async def expire_tenant(
    settings: Settings,
    tenant: str,
    *,
    only_look: bool,
    say: Callable[[dict[str, Swept]], None] | None = None,
    say_to_expire: Callable[[list[ToExpire]], None] | None = None,
    clock: Clock | None = None,
) -> list[Swept]:
    """What expired, by programme; with `only_look` what would expire: then `say_to_expire` hears of which wallets, a step's at a
    time. `say` hears of it after each step."""
    async with open_desk(settings, tenant, clock=clock) as desk:
        if only_look:
            swept = await dry_run(desk, say=say, say_to_expire=say_to_expire)
        else:
            swept = await walk(desk, say=say)
    return [found for _, found in sorted(swept.items())]


async def tell_tenant(
    settings: Settings,
    tenant: str,
    *,
    only_look: bool,
    say: Callable[[int], None] | None = None,
    say_to_tell: Callable[[list[ToTell]], None] | None = None,
    clock: Clock | None = None,
) -> int:
    """How many notices were given; with `only_look` would be: then `say_to_tell` hears which, a step's at a time. `say` hears after
    each step how many there are so far."""
    async with open_desk(settings, tenant, clock=clock) as desk:
        if not only_look:
            return await tell_of_expiry(desk, say=say)
        so_far = 0

        def hear(found: list[ToTell]) -> None:
            nonlocal so_far
            so_far += len(found)
            if say_to_tell is not None:
                say_to_tell(found)
            if say is not None:
                say(so_far)

        return await would_tell_of_expiry(desk, say=hear)
