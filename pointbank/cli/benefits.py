"""Issuing and writing off benefits by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pointbank.cli.jobs import run_job
from pointbank.cli.options import AllTenants, AsJson, TenantOption
from pointbank.cli.say import counted, out, progress

if TYPE_CHECKING:
    from services.redeem.jobs.benefits_due import Run
    from shared.config import Settings


def benefits(
    context: typer.Context,
    tenant: TenantOption = "demo",
    everyone: AllTenants = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would be issued and written off; nothing is written."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Issues rewards to members who have reached their thresholds, and writes off benefits that expired unused. The redeem service
    does it by itself; both at once are fine."""
    import msgspec

    say_so_far = progress()

    async def ask(settings: Settings, tenant: str) -> Run:
        from pointbank.desk import open_desk
        from services.redeem.jobs.benefits_due import run

        async with open_desk(settings, tenant) as desk:
            return await run(desk, dry_run=dry_run, progress=lambda n: say_so_far(counted(n, "benefit")))

    def tell(found: Run) -> None:
        would = "would be " if dry_run else ""
        out.print(
            f"{found.issued:,} {would}issued, {found.written_off:,} {would}written off.", highlight=False
        )
        for one in found.rewards:
            out.print(
                f"{one.programme}/{one.reward}: {one.issued:,} {would}issued, {one.written_off:,} {would}written off "
                f"(worth {one.written_off_minor:,} minor units)",
                highlight=False,
            )

    run_job(
        context,
        ask,
        tenant,
        everyone=everyone,
        part="redeem",
        tell=tell,
        plain=msgspec.to_builtins,
        as_json=as_json,
    )
