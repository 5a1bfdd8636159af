"""Proving that what must never break is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption


def verify(
    tenant: TenantOption = "demo",
    journal: Annotated[Path | None, typer.Option(help="What tills sent and saw acknowledged.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait until all is settled.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Proves the invariants from PostgreSQL, the streams and the tills' journal. Exit 0 holds, 1 broken, 2 could not check."""
    from pointbank.verify import run_verify
    from shared.config import Settings

    raise typer.Exit(
        run_verify(Settings(), tenant, journal=journal, wait_until_settled_s=wait, as_json=as_json)
    )
