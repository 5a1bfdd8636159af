"""Points that are held, and released when their day has come."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli.asking import ABSENT_S, bearer
from pointbank.cli.options import HERE, VAR, AsJson, State, TenantOption, Url
from pointbank.cli.say import err, out, print_json

group = typer.Typer(help="Points that are held.", no_args_is_help=True)


@group.command("release")
def release(
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
    """Releases all that is due, as the service's own job does by itself; safe at any time, and twice."""
    import asyncio

    from rich.progress import Progress

    from pointbank.holds import release_due

    chosen = bearer(token, state, role="operator", tenant=tenant)
    with Progress(console=err, transient=True) as progress:
        bar = progress.add_task("bills", total=None)
        done = asyncio.run(
            release_due(
                url,
                chosen,
                dry_run=dry_run,
                absent_s=ABSENT_S,
                said=lambda bills, left: progress.update(bar, completed=bills, total=bills + left),
            )
        )
    if as_json:
        print_json(done)
    else:
        verb = "would be released" if dry_run else "are asked to be released"
        out.print(f"{done['points']:,} points of {done['bills']:,} bills {verb}.")
