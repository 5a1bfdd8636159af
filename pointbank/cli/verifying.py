"""Proving that what must never break is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from pointbank.cli.jobs import run_job
from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import err, out

if TYPE_CHECKING:
    from shared.config import Settings


class CouldNotCheck(Exception):
    """What was named to check with is not there; the message names it."""


def verify(
    context: typer.Context,
    tenant: TenantOption = "demo",
    everyone: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Every active tenant of the cell; one's failure is its own. Exit 1 if one is broken, else 2 if one could "
            "not be checked.",
        ),
    ] = False,
    journal: Annotated[Path | None, typer.Option(help="What tills sent and saw acknowledged.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until all is settled.")] = 0,
    chain: Annotated[
        bool,
        typer.Option("--chain", help="Only the ledger's chains and the seals over them: the quick check."),
    ] = False,
    wallet: Annotated[UUID | None, typer.Option(help="Only this wallet's chain.")] = None,
    after: Annotated[
        UUID | None, typer.Option("--from", help="Only the chains of wallets after this one, and the seals.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state-file", help="Where a check of the chains keeps how far it came, to go on from there."
        ),
    ] = None,
    seals: Annotated[
        Path | None, typer.Option(help="Folder of exported seals; else POINTBANK_SEAL_FOLDER.")
    ] = None,
    public_key: Annotated[
        list[str] | None,
        typer.Option(help="Key that seals may be signed with, in hexadecimal; may be given again."),
    ] = None,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="List also the checks that had nothing to compare.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Proves the invariants from PostgreSQL, the streams and the tills' journal. Exit 0 holds, 1 broken, 2 could not check."""
    from pointbank.cli.failures import expected
    from pointbank.verify import Trust, run_chains, run_verify
    from shared.config import Settings

    settings = Settings()
    if seals is not None and not seals.is_dir():
        raise CouldNotCheck(
            f"there is no folder {seals}; name the one that seals are exported to with `--seals`"
        )
    if everyone:
        if journal or chain or wallet or after or state or public_key:
            raise typer.BadParameter("what is asked with it is one tenant's own: ask for each with --tenant")
        _verify_all(context, wait, seals, unchecked=unchecked, as_json=as_json)
    try:
        trust = Trust.of(settings, tenant, folder=seals, keys=public_key or ())
    except ValueError as error:
        raise typer.BadParameter(f"a public key is 64 hexadecimal digits: {error}") from error
    if chain or wallet or after or state:
        if journal or wait:
            raise typer.BadParameter(
                "--journal and --wait are for the whole check: leave out what asks for chains alone"
            )
        raise typer.Exit(
            run_chains(
                settings,
                tenant,
                wallet=wallet,
                after=after,
                state=state,
                trust=trust,
                as_json=as_json,
                unchecked=unchecked,
                failed=expected,
            )
        )
    raise typer.Exit(
        run_verify(
            settings,
            tenant,
            journal=journal,
            wait_until_settled_s=wait,
            as_json=as_json,
            trust=trust,
            unchecked=unchecked,
            failed=expected,
        )
    )


def _verify_all(
    context: typer.Context, wait: float, seals: Path | None, *, unchecked: bool, as_json: bool
) -> None:
    from pointbank.verify import Report, Trust, verify_tenant
    from pointbank.verify.show import show

    async def ask(settings: Settings, tenant: str) -> Report:
        trust = Trust.of(settings, tenant, folder=seals)
        return await verify_tenant(
            settings,
            tenant,
            wait_until_settled_s=wait,
            trust=trust,
            say=lambda said: err.print(f"{tenant}: {said}", highlight=False, markup=False),
        )

    def tell(report: Report) -> None:
        show(report, out, unchecked=unchecked)

    def wrong(report: Report) -> str | None:
        if report.only_on_the_way:
            left = "; ".join(example for check in report.broken for example in check.examples)
            return f"not settled, and nothing else is broken: {left}"
        return None if report else f"broken: {', '.join(check.name for check in report.broken)}"

    run_job(
        context,
        ask,
        "",
        everyone=True,
        part="auditor",
        tell=tell,
        plain=Report.as_json,
        wrong=wrong,
        as_json=as_json,
        could_not=2,
    )
