"""Sealing the ledger, and reconciling it: jobs of redeem that an operator runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointbank.cli.jobs import run_job
from pointbank.cli.options import AllTenants, AsJson, TenantOption
from pointbank.cli.say import counted, out, progress

if TYPE_CHECKING:
    from services.redeem.jobs.reconciling import Total
    from shared.config import Settings

group = typer.Typer(
    help="Seals the ledger's new heads, and exports seals that POINTBANK_SEAL_FOLDER lacks. Safe to repeat, and beside others.",
    invoke_without_command=True,
)


@group.callback()
def seal(
    context: typer.Context,
    tenant: TenantOption = "demo",
    everyone: AllTenants = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Says what would be sealed, and writes nothing.")
    ] = False,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="Looks at every wallet, not only at those posted to since the last seal."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Exit 1 where the folder has seals that the database lacks."""
    if context.invoked_subcommand is not None:
        return
    actor, say = _actor(), progress()

    async def ask(settings: Settings, tenant: str) -> dict[str, Any]:
        from pointbank.sealing import seal_tenant

        return await seal_tenant(
            settings,
            tenant,
            actor=actor,
            dry_run=dry_run,
            whole=whole,
            progress=lambda heads: say(f"{heads:,} heads"),
        )

    def tell(done: dict[str, Any]) -> None:
        made, would = done["seal"], "would be " if dry_run else ""
        said = (
            "Nothing is new."
            if made is None
            else f"{made['leaves']:,} heads {would}sealed as number {made['no']}."
        )
        out.print(f"{said} {done['exported']:,} seals {would}exported.", highlight=False)

    def wrong(done: dict[str, Any]) -> str | None:
        return f"Not in the database: {', '.join(done['foreign'])}" if done["foreign"] else None

    run_job(
        context,
        ask,
        tenant,
        everyone=everyone,
        part="redeem",
        tell=tell,
        plain=dict,
        wrong=wrong,
        as_json=as_json,
    )


@group.command("public-key")
def seal_public_key(tenant: TenantOption = "demo") -> None:
    """Prints the key that seals are signed with (Ed25519, hexadecimal). Keep it where nobody who runs the bank can change it."""
    from pointbank.sealing import public_key
    from shared.config import Settings

    typer.echo(public_key(Settings(), tenant))


def reconcile(
    context: typer.Context,
    tenant: TenantOption = "demo",
    everyone: AllTenants = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Says what would be found, and writes nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Seals, then holds every wallet that changed since the last run against its lines and lots, what was posted since
    against its events, and the ledger against each day of accruals that earn told. Exit 1: differences."""
    actor, say = _actor(), progress()

    def say_compared(so_far: Total) -> None:
        say(
            f"{counted(so_far.wallets, 'wallet')}, {counted(so_far.postings, 'posting')}, {counted(so_far.days, 'day')} compared"
        )

    async def ask(settings: Settings, tenant: str) -> dict[str, Any]:
        from pointbank.sealing import reconcile_tenant

        return await reconcile_tenant(
            settings,
            tenant,
            actor=actor,
            dry_run=dry_run,
            sealing=lambda heads: say(f"{heads:,} heads sealed"),
            progress=say_compared,
        )

    def tell(done: dict[str, Any]) -> None:
        would = "would be " if dry_run else ""
        out.print(
            f"{counted(done['wallets'], 'wallet')}, {counted(done['postings'], 'posting')} and {counted(done['days'], 'day')} "
            f"{would}compared, {counted(done['differences'], 'difference')}.",
            highlight=False,
        )
        for one in done["found"]:
            out.print(
                f"{one['kind']} of {one['subject']}: {one['found']}, expected {one['expected']}",
                highlight=False,
            )

    def wrong(done: dict[str, Any]) -> str | None:
        return counted(done["differences"], "difference") if done["differences"] else None

    run_job(
        context,
        ask,
        tenant,
        everyone=everyone,
        part="redeem",
        tell=tell,
        plain=dict,
        wrong=wrong,
        as_json=as_json,
    )


def _actor() -> str:
    return f"cli:{os.environ.get('SUDO_USER') or os.environ.get('USER') or 'operator'}"
