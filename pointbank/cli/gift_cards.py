"""Expiring gift cards."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import err, out, print_json


def expire_gift_cards(
    tenant: TenantOption = "demo",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would expire now; nothing is written.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Expires what is left on gift cards whose time is over. Safe to repeat, to break off, and to run beside the services, which do
    the same by themselves."""
    import asyncio

    import msgspec

    from pointbank.gift_cards import expire_tenant
    from services.redeem.domain.giftcards.acts import Swept
    from shared.config import Settings

    def say(swept: dict[str, Swept]) -> None:
        err.print(f"{sum(one.gift_cards for one in swept.values())} gift cards ...", highlight=False)

    found = asyncio.run(expire_tenant(Settings(), tenant, only_look=dry_run, say=None if as_json else say))
    if as_json:
        print_json({"dry_run": dry_run, "swept": msgspec.to_builtins(found)})
        return
    if not found:
        out.print("Nothing is due." if dry_run else "Nothing was due.")
    for one in found:
        done = "would expire" if dry_run else "expired"
        out.print(
            f"{one.programme}: {one.amount_minor} minor units of {one.currency} on {one.gift_cards} gift cards {done}.",
            highlight=False,
        )
