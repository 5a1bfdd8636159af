"""Expiring gift cards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointbank.cli.jobs import run_job
from pointbank.cli.options import AllTenants, AsJson, TenantOption
from pointbank.cli.say import out, progress

if TYPE_CHECKING:
    from services.redeem.domain.giftcards.acts import Swept
    from shared.config import Settings


def expire_gift_cards(
    context: typer.Context,
    tenant: TenantOption = "demo",
    everyone: AllTenants = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would expire now; nothing is written.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Expires what is left on gift cards whose time is over. Safe to repeat, to break off, and to run beside the services, which do
    the same by themselves."""
    import msgspec

    say_so_far = progress()

    def say(swept: dict[str, Swept]) -> None:
        say_so_far(f"{sum(one.gift_cards for one in swept.values()):,} gift cards")

    async def ask(settings: Settings, tenant: str) -> list[Swept]:
        from pointbank.jobs.gift_cards import expire_tenant

        return await expire_tenant(settings, tenant, only_look=dry_run, say=say)

    def tell(found: list[Swept]) -> None:
        if not found:
            out.print("Nothing is due." if dry_run else "Nothing was due.")
        for one in found:
            done = "would expire" if dry_run else "expired"
            out.print(
                f"{one.programme}: {one.amount_minor} minor units of {one.currency} on {one.gift_cards} gift cards {done}.",
                highlight=False,
            )

    def plain(found: list[Swept]) -> dict[str, Any]:
        return {"dry_run": dry_run, "swept": msgspec.to_builtins(found)}

    run_job(context, ask, tenant, everyone=everyone, part="redeem", tell=tell, plain=plain, as_json=as_json)
