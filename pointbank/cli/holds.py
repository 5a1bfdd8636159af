"""Points that are held, and released when their day has come."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli.options import VAR, AsJson, State, TenantOption
from pointbank.cli.say import err, out, print_json

group = typer.Typer(help="Points that are held.", no_args_is_help=True)


@group.command("release")
def release(
    tenant: TenantOption = "demo",
    url: Annotated[str, typer.Option(help="Where earn is served.")] = "http://127.0.0.1:8080",
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
    from pointbank.tokens import dev_keys, issue

    chosen = token or issue(
        dev_keys(state / "keys"), role="operator", tenant=tenant, subject=f"operator@{tenant}"
    )
    with Progress(console=err, transient=True) as progress:
        bar = progress.add_task("bills", total=None)
        done = asyncio.run(
            release_due(
                url,
                chosen,
                dry_run=dry_run,
                said=lambda bills, left: progress.update(bar, completed=bills, total=bills + left),
            )
        )
    if as_json:
        print_json(done)
    else:
        verb = "would be released" if dry_run else "are asked to be released"
        out.print(f"{done['points']:,} points of {done['bills']:,} bills {verb}.")
