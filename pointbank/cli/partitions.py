"""Making partitions before their time comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointbank.cli.jobs import run_job
from pointbank.cli.options import AllTenants, AsJson, TenantOption
from pointbank.cli.say import counted, err, out

if TYPE_CHECKING:
    from shared.config import Settings
    from shared.messaging.partitions import Ahead

    Found = dict[str, Ahead]


def partitions(
    context: typer.Context,
    tenant: TenantOption = "demo",
    everyone: AllTenants = False,
    service: Annotated[
        list[str] | None,
        typer.Option(help="Only this service's, with its login alone; may be given again. Else all five."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is missing; nothing is made.")] = False,
    as_json: AsJson = False,
) -> None:
    """Makes the partitions by day and month that are missing, from the present ones on. Safe to repeat, and beside the
    services, which do the same by themselves."""
    import msgspec

    from pointbank.jobs.partitions import partitions_of
    from shared.messaging.keys import SERVICES

    if unknown := set(service or ()) - set(SERVICES):
        raise typer.BadParameter(f"no service {', '.join(sorted(unknown))}; there are {', '.join(SERVICES)}")
    services = tuple(service or SERVICES)

    async def ask(settings: Settings, tenant: str) -> Found:
        return await partitions_of(
            settings,
            tenant,
            services=services,
            dry_run=dry_run,
            progress=lambda service, ahead: err.print(
                f"{service}: {counted(len(ahead.partitions), 'partition')} looked at", highlight=False
            ),
        )

    def tell(found: Found) -> None:
        for name, ahead in found.items():
            for one in ahead.partitions:
                if not one.there:
                    would = "is missing" if dry_run else "was missing"
                    out.print(f"{name}.{one.partition} {would}: from {one.begins:%Y-%m-%d}", highlight=False)
        made = sum(ahead.made for ahead in found.values())
        out.print(f"{counted(made, 'partition')} {'would be ' if dry_run else ''}made.", highlight=False)

    def plain(found: Found) -> Any:
        return msgspec.to_builtins(found)

    run_job(
        context,
        ask,
        tenant,
        everyone=everyone,
        part=services[0],
        tell=tell,
        plain=plain,
        as_json=as_json,
    )
