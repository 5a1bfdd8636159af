"""Sealing the ledger, and reconciling it: jobs of redeem that an operator runs."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import err, out, print_json

group = typer.Typer(
    help="Seals the ledger's new heads, and exports seals that POINTBANK_SEAL_FOLDER lacks. Safe to repeat, and beside others.",
    invoke_without_command=True,
)


@group.callback()
def seal(
    context: typer.Context,
    tenant: TenantOption = "demo",
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
    import asyncio

    from pointbank.sealing import seal_tenant
    from shared.config import Settings

    actor = os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"
    with err.status("sealing") as status:
        done = asyncio.run(
            seal_tenant(
                Settings(),
                tenant,
                actor=f"cli:{actor}",
                dry_run=dry_run,
                whole=whole,
                progress=lambda heads: status.update(f"sealing: {heads:,} heads"),
            )
        )
    if as_json:
        print_json(done)
    else:
        made, would = done["seal"], "would be " if dry_run else ""
        said = (
            "Nothing is new."
            if made is None
            else f"{made['leaves']:,} heads {would}sealed as number {made['no']}."
        )
        out.print(f"{said} {done['exported']:,} seals exported.", highlight=False)
    if done["foreign"]:
        err.print(f"Not in the database: {', '.join(done['foreign'])}", style="red", highlight=False)
        raise typer.Exit(1)


@group.command("public-key")
def seal_public_key(tenant: TenantOption = "demo") -> None:
    """Prints the key that seals are signed with (Ed25519, hexadecimal). Keep it where nobody who runs the bank can change it."""
    from pointbank.sealing import public_key
    from shared.config import Settings

    typer.echo(public_key(Settings(), tenant))


def reconcile(
    tenant: TenantOption = "demo",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Says what would be found, and writes nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Seals, then holds every wallet that changed since the last run against its lines and lots, and the ledger against each
    day of accruals that earn told. Exit 1: differences."""
    import asyncio

    from pointbank.sealing import reconcile_tenant
    from shared.config import Settings

    actor = os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"
    with err.status("reconciling") as status:
        done = asyncio.run(
            reconcile_tenant(
                Settings(),
                tenant,
                actor=f"cli:{actor}",
                dry_run=dry_run,
                progress=lambda wallets: status.update(f"reconciling: {wallets:,} wallets"),
            )
        )
    if as_json:
        print_json(done)
    else:
        would = "would be " if dry_run else ""
        out.print(
            f"{done['wallets']:,} wallets and {done['days']:,} days {would}compared, {done['differences']:,} differences.",
            highlight=False,
        )
        for one in done["found"]:
            out.print(
                f"{one['kind']} of {one['subject']}: {one['found']}, expected {one['expected']}",
                highlight=False,
            )
    if done["differences"]:
        raise typer.Exit(1)
