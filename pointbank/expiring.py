"""`pointbank expire`: the bank's sweep from the command line, with the bank's own lane and role, beside running services."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import msgspec
from rich.console import Console
from rich.table import Table

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


def run_expire(settings: Settings, tenant: str, *, only_look: bool, as_json: bool) -> None:
    """For the command line: how far it has come on stderr, what it came to on stdout."""
    err, out = Console(stderr=True, highlight=False), Console(highlight=False)

    def say(swept: dict[str, Swept]) -> None:
        wallets, points = (
            sum(getattr(one, name) for one in swept.values()) for name in ("wallets", "points")
        )
        err.print(f"{wallets:,} wallets, {points:,} points", end="\r")

    swept, notices = asyncio.run(
        expire_tenant(settings, tenant, only_look=only_look, say=None if as_json else say)
    )
    if as_json:
        found = {"dry_run": only_look, "swept": swept, "notices": notices}
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return
    table = Table("programme", "wallets", "lots", "points", "worth, in minor units")
    for one in swept:
        worth = f"{one.amount_minor:,} {one.currency}"
        table.add_row(one.programme, f"{one.wallets:,}", f"{one.lots:,}", f"{one.points:,}", worth)
    out.print(table if swept else "Nothing is due." if only_look else "Nothing was due.")
    if not only_look:
        out.print(f"{notices:,} notices.")
