"""Issuing and writing off benefits by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import err, out, print_json


def benefits(
    tenant: TenantOption = "demo",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would be issued and written off; nothing is written."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Issues rewards to members who have reached their thresholds, and writes off benefits that expired unused. The redeem service
    does it by itself; both at once are fine."""
    import asyncio

    import msgspec

    from pointbank.desk import open_desk
    from services.redeem.benefits_due import Run, run
    from shared.config import Settings

    async def ran() -> Run:
        async with open_desk(Settings(), tenant) as desk:
            return await run(
                desk, dry_run=dry_run, progress=lambda n: err.print(f"{n:,} benefits ...", end="\r")
            )

    found = asyncio.run(ran())
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    would = "would be " if dry_run else ""
    out.print(f"{found.issued:,} {would}issued, {found.written_off:,} {would}written off.", highlight=False)
    for one in found.rewards:
        out.print(f"{one.programme}/{one.reward}: {one.issued:,} {would}issued", highlight=False)
