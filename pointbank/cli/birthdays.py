"""Birthdays of members, told to the programmes that give something for them."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli.asking import ABSENT_S, bearer
from pointbank.cli.options import HERE, VAR, AsJson, State, TenantOption, Url
from pointbank.cli.say import err, out, print_json

group = typer.Typer(help="Birthdays of members.", no_args_is_help=True)


@group.command("tell")
def tell(
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="POINTBANK_TOKEN", help="A token with ops:write; else one of the state folder's keys."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what is due.")] = False,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Tells of all that are due, as the service's own job does by itself; safe at any time, and twice."""
    import asyncio

    from rich.progress import Progress

    from pointbank.birthdays import tell_due

    chosen = bearer(token, state, role="operator", tenant=tenant)
    with Progress(console=err, transient=True) as progress:
        bar = progress.add_task("birthdays", total=None)
        done = asyncio.run(
            tell_due(
                url,
                chosen,
                dry_run=dry_run,
                absent_s=ABSENT_S,
                said=lambda told, left: progress.update(bar, completed=told, total=told + left),
            )
        )
    if as_json:
        print_json(done)
    else:
        out.print(
            f"{done['told']:,} birthdays and {done['stays']:,} stays around them {'would be' if dry_run else 'were'} told."
        )
