"""Opening balances: the points that members bring along from elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import counted, out, print_json, print_table, progress, table_of

if TYPE_CHECKING:
    from pointbank.files.balances import Opened
    from shared.config import Settings


def open_balances(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV with row_key, points, earned_at, expires_at, last_active_at, and either wallet_id, or programme with one of "
            "external_id, card_number, card_id, mobile, email."
        ),
    ],
    tenant: TenantOption = "demo",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be posted and refused; nothing is written.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Opens wallets with the points that members had before, backdated. Each row posts once by its row_key: safe to repeat and to
    break off. Refused rows are told, and keep no other row."""
    from shared.config import Settings

    raise typer.Exit(run_open_balances(Settings(), tenant, file, dry_run=dry_run, as_json=as_json))


def run_open_balances(settings: Settings, tenant: str, file: Path, *, dry_run: bool, as_json: bool) -> int:
    """How far it has come on stderr, what it came to on stdout; 1 where rows were refused. Raises FileUnreadable."""
    import asyncio

    import msgspec

    from pointbank.files.balances import open_balances as opened

    so_far = progress()

    def say(found: Opened) -> None:
        so_far(f"{counted(found.rows, 'row')}, {counted(found.points, 'point')}")

    actor = os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"
    found = asyncio.run(
        opened(settings, tenant, file, dry_run=dry_run, actor=actor, say=None if as_json else say)
    )
    if as_json:
        shown = {"dry_run": dry_run, **vars(found), "refused": dict(found.refused)}
        print_json(msgspec.to_builtins(shown))
    else:
        _show(found, dry_run=dry_run)
    return 1 if found.refused else 0


def _show(found: Opened, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    out.print(
        f"{counted(found.posted, 'row')} {would}posted, {counted(found.points, 'point')}; {found.known:,} were before; "
        f"{found.refused.total():,} {would}refused.",
        highlight=False,
    )
    if found.over_at_once:
        would = "would be" if dry_run else "are"
        said = f"{found.over_at_once:,} of the points {would} over at once: expired, or ended by silence."
        out.print(said, highlight=False)
    if found.told:
        table = table_of("line", "*code", "what is wrong")
        for one in found.told:
            table.add_row(str(one.line), one.code, one.detail)
        print_table(table)
