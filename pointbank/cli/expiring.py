"""Expiring what is due."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import err, out, print_json


def expire(
    tenant: TenantOption = "demo",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would expire now; nothing is written.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Expires the points that are due, and tells members of those that soon will be. Safe to repeat, to break off, and to run
    beside the services, which do the same by themselves."""
    import asyncio

    import msgspec
    from rich.table import Table

    from pointbank.expiring import expire_tenant
    from services.redeem.domain.sweep import Swept
    from shared.config import Settings

    def say(swept: dict[str, Swept]) -> None:
        points = sum(one.points for one in swept.values())
        wallets = sum(one.wallets for one in swept.values())
        err.print(f"{wallets:,} wallets, {points:,} points", end="\r", highlight=False)

    swept, notices = asyncio.run(
        expire_tenant(Settings(), tenant, only_look=dry_run, say=None if as_json else say)
    )
    if as_json:
        print_json(
            {"dry_run": dry_run, "swept": [msgspec.to_builtins(one) for one in swept], "notices": notices}
        )
        return
    table = Table("programme", "wallets", "lots", "points", "worth")
    for one in swept:
        table.add_row(
            one.programme,
            f"{one.wallets:,}",
            f"{one.lots:,}",
            f"{one.points:,}",
            f"{one.amount_minor:,} minor units of {one.currency}",
        )
    if swept:
        out.print(table)
    else:
        out.print("Nothing is due." if dry_run else "Nothing was due.")
    if not dry_run:
        out.print(f"{notices:,} notices.", highlight=False)
