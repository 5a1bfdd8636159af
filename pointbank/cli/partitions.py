"""Making partitions before their time comes."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import err, out, print_json


def partitions(
    tenant: TenantOption = "demo",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is missing; nothing is made.")] = False,
    as_json: AsJson = False,
) -> None:
    """Makes the partitions by day and month that are missing, of all services, from the present ones on. Safe to repeat, and
    beside the services, which do the same by themselves."""
    import asyncio

    import msgspec

    from pointbank.partitions import partitions_of
    from shared.config import Settings

    found = asyncio.run(
        partitions_of(
            Settings(),
            tenant,
            dry_run=dry_run,
            progress=lambda service, ahead: err.print(
                f"{service}: {len(ahead.partitions)} partitions looked at", highlight=False
            ),
        )
    )
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    for service, ahead in found.items():
        for one in ahead.partitions:
            if not one.there:
                would = "is missing" if dry_run else "was missing"
                out.print(f"{service}.{one.partition} {would}: from {one.begins:%Y-%m-%d}", highlight=False)
    made = sum(ahead.made for ahead in found.values())
    out.print(f"{made:,} partitions {'would be ' if dry_run else ''}made.", highlight=False)
