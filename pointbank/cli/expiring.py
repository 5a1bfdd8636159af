"""Expiring what is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointbank.cli.jobs import run_job
from pointbank.cli.options import AllTenants, AsJson, TenantOption
from pointbank.cli.say import err, out

if TYPE_CHECKING:
    from services.redeem.domain.sweep import Swept
    from shared.config import Settings


def expire(
    context: typer.Context,
    tenant: TenantOption = "demo",
    everyone: AllTenants = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would expire and be told now; nothing is written."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Expires the points that are due, and tells members of those that soon will be. Safe to repeat, to break off, and to run
    beside the services, which do the same by themselves."""
    import msgspec

    def say(swept: dict[str, Swept]) -> None:
        wallets, points = (
            sum(getattr(one, name) for one in swept.values()) for name in ("wallets", "points")
        )
        err.print(f"{wallets:,} wallets, {points:,} points", end="\r", highlight=False)

    def say_told(notices: int) -> None:
        err.print(f"{notices:,} notices", end="\r", highlight=False)

    async def ask(settings: Settings, tenant: str) -> tuple[list[Swept], int]:
        from pointbank.expiring import expire_tenant

        heard = (None, None) if as_json else (say, say_told)
        return await expire_tenant(settings, tenant, only_look=dry_run, say=heard[0], say_told=heard[1])

    def tell(found: tuple[list[Swept], int]) -> None:
        from rich.table import Table

        swept, notices = found
        table = Table("programme", "wallets", "lots", "points", "worth, in minor units")
        for one in swept:
            worth = f"{one.amount_minor:,} {one.currency}"
            table.add_row(one.programme, f"{one.wallets:,}", f"{one.lots:,}", f"{one.points:,}", worth)
        out.print(table if swept else "Nothing is due." if dry_run else "Nothing was due.", highlight=False)
        out.print(f"{notices:,} notices{' would be given' if dry_run else ''}.", highlight=False)

    def plain(found: tuple[list[Swept], int]) -> dict[str, Any]:
        swept, notices = found
        return {"dry_run": dry_run, "swept": msgspec.to_builtins(swept), "notices": notices}

    run_job(context, ask, tenant, everyone=everyone, part="redeem", tell=tell, plain=plain, as_json=as_json)
