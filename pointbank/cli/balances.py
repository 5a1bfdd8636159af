"""Opening balances: the points that members bring along from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption


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
    from pointbank.balances import run_open_balances
    from shared.config import Settings

    raise typer.Exit(run_open_balances(Settings(), tenant, file, dry_run=dry_run, as_json=as_json))
