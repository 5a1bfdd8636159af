"""Releasing by hand what is set aside past its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pointbank.cli.jobs import run_job
from pointbank.cli.options import AllTenants, AsJson, TenantOption
from pointbank.cli.say import counted, out, progress

if TYPE_CHECKING:
    from services.redeem.jobs.releasing import Released
    from shared.config import Settings
    from shared.money import Worth


def release_reservations(
    context: typer.Context,
    tenant: TenantOption = "demo",
    everyone: AllTenants = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be released.")] = False,
    as_json: AsJson = False,
) -> None:
    """Gives back the points of authorisations whose time is over. The redeem service does it too; both at once are fine."""
    import msgspec

    say_so_far = progress()

    async def ask(settings: Settings, tenant: str) -> Released:
        from pointbank.jobs.releasing import release

        return await release(
            settings,
            tenant,
            dry_run=dry_run,
            progress=lambda so_far: say_so_far(counted(so_far.reservations, "reservation")),
        )

    run_job(
        context,
        ask,
        tenant,
        everyone=everyone,
        part="redeem",
        tell=_tell,
        plain=msgspec.to_builtins,
        as_json=as_json,
    )


def _tell(found: Released) -> None:
    done = "would be released" if found.dry_run else "released"
    out.print(f"{counted(found.reservations, 'reservation')} {done}.", highlight=False)
    for one in found.programmes:
        out.print(
            f"{one.programme}: {counted(one.released.points, 'point')} ({_money(one.released)}) of "
            f"{counted(one.reservations, 'reservation')}; "
            f"{one.expired.points:,} of them ({_money(one.expired)}) expire at once.",
            highlight=False,
        )


def _money(worth: Worth) -> str:
    return f"{worth.money.amount_minor} minor units of {worth.money.currency}"
