"""Sealing the ledger, and reconciling it: jobs of redeem that an operator runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointbank.cli.jobs import run_job
from pointbank.cli.options import AllTenants, AsJson, TenantOption
from pointbank.cli.say import counted, out, print_json, progress

if TYPE_CHECKING:
    from services.redeem.jobs.reconciling import Total
    from shared.config import Settings

group = typer.Typer(
    help="Seals the ledger's new heads, and exports seals that POINTBANK_SEAL_FOLDER lacks. Safe to repeat, and beside others.",
    invoke_without_command=True,
)


MOST_SHOWN = 20


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
    """Exit 1 where the folder has seals that the database lacks: nothing is sealed then."""
    if context.invoked_subcommand is not None:
        return
    actor, say = _actor(), progress()

    async def ask(settings: Settings, tenant: str) -> dict[str, Any]:
        from pointbank.jobs.sealing import seal_tenant

        return await seal_tenant(
            settings,
            tenant,
            actor=actor,
            dry_run=dry_run,
            whole=whole,
            progress=lambda heads: say(counted(heads, "head")),
        )

    def tell(done: dict[str, Any]) -> None:
        if done["foreign"]:
            return
        made, would = done["seal"], "would be " if dry_run else ""
        said = (
            "Nothing is new."
            if made is None
            else f"{counted(made['leaves'], 'head')} {would}sealed as number {made['no']}."
        )
        out.print(f"{said} {counted(done['exported'], 'seal')} {would}exported.", highlight=False)

    def wrong(done: dict[str, Any]) -> str | None:
        if not done["foreign"]:
            return None
        names = ", ".join(done["foreign"])
        return (
            f"seal_forked: nothing is sealed. Not in the database: {names}. See `pointbank seal adopt --help`"
        )

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


@group.command("adopt")
def seal_adopt(
    tenant: TenantOption = "demo",
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tells what it finds and would do.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """PostgreSQL lost commits whose seals were exported: it goes on as it is, what was lost is recorded, numbers go on above."""
    import asyncio

    from pointbank.jobs.sealing import adopt_seals
    from shared.config import Settings

    if not dry_run and not reason:
        raise typer.BadParameter("say why, with --reason: it is kept in the audit")
    done = asyncio.run(adopt_seals(Settings(), tenant, actor=_actor(), reason=reason, dry_run=dry_run))
    if as_json:
        print_json(done)
        return
    last = f"seal {done['after_no']}" if done["after_no"] else "none"
    out.print(
        f"The newest seal in the database is {last}; these were exported and are not there:", highlight=False
    )
    for name in done["lost"][:MOST_SHOWN]:
        out.print(f"  {name}", highlight=False)
    if len(done["lost"]) > MOST_SHOWN:
        out.print(f"  ... and {len(done['lost']) - MOST_SHOWN} more (--json has all)", highlight=False)
    if dry_run:
        out.print(f"Nothing was changed. The next seal would be {done['next_no']}.", highlight=False)
    else:
        out.print(
            f"Recorded as lost, epoch {done['epoch']}. The next seal is {done['next_no']}.", highlight=False
        )


@group.command("public-key")
def seal_public_key(tenant: TenantOption = "demo") -> None:
    """Prints the key that seals are signed with (Ed25519, hexadecimal). Keep it where nobody who runs the bank can change it."""
    from pointbank.cli.tenants import must_be_known
    from pointbank.jobs.sealing import public_key
    from shared.config import Settings

    must_be_known(tenant)
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
        from pointbank.jobs.sealing import reconcile_tenant

        return await reconcile_tenant(
            settings,
            tenant,
            actor=actor,
            dry_run=dry_run,
            sealing=lambda heads: say(f"{counted(heads, 'head')} sealed"),
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
