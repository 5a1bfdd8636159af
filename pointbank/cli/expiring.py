"""Expiring what is due."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption


def expire(
    tenant: TenantOption = "demo",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would expire now; nothing is written.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Expires the points that are due, and tells members of those that soon will be. Safe to repeat, to break off, and to run
    beside the services, which do the same by themselves."""
    from pointbank.expiring import run_expire
    from shared.config import Settings

    run_expire(Settings(), tenant, only_look=dry_run, as_json=as_json)
