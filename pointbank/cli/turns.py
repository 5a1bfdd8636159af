"""Jobs that the services do by themselves, asked for now: points that are held, and birthdays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pointbank.cli.asking import bearer, with_api
from pointbank.cli.options import HERE, VAR, AsJson, State, TenantOption, Url
from pointbank.cli.say import counted, err, out, print_json

holds = typer.Typer(help="Points that are held.", no_args_is_help=True)
birthdays = typer.Typer(help="Birthdays of members.", no_args_is_help=True)

OperatorToken = Annotated[
    str | None,
    typer.Option(
        envvar="POINTBANK_TOKEN", help="A token with ops:write; else one of the state folder's keys."
    ),
]
DryRun = Annotated[bool, typer.Option(help="Only say what is due.")]


@holds.command("release")
def release(
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: OperatorToken = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Releases all that is due, as the service's own job does by itself; safe at any time, and twice."""
    done = _asked(
        "/v1/holds/release",
        ["bills", "points"],
        towards_left=["bills"],
        url=url, token=token, state=state, tenant=tenant, dry_run=dry_run,
    )  # fmt: skip
    if as_json:
        print_json(done)
    else:
        verb = "would be" if dry_run else "is asked to be" if done["points"] == 1 else "are asked to be"
        out.print(f"{counted(done['points'], 'point')} of {counted(done['bills'], 'bill')} {verb} released.")


@birthdays.command("tell")
def tell(
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: OperatorToken = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Tells of all that are due, as the service's own job does by itself; safe at any time, and twice."""
    done = _asked(
        "/v1/birthdays/tell",
        ["told", "stays"],
        towards_left=["told", "stays"],
        url=url, token=token, state=state, tenant=tenant, dry_run=dry_run,
    )  # fmt: skip
    if as_json:
        print_json(done)
    else:
        verb = "would be" if dry_run else "were"
        out.print(
            f"{counted(done['told'], 'birthday')} and {counted(done['stays'], 'stay')} around them {verb} told."
        )


def _asked(
    path: str,
    counts: Sequence[str],
    *,
    towards_left: Sequence[str],
    url: str,
    token: str | None,
    state: Path,
    tenant: str,
    dry_run: bool,
) -> dict[str, Any]:
    """What the job's turns came to, with a bar while they run."""
    from rich.progress import Progress

    from pointbank.jobs.turns import ask_in_turns

    chosen = bearer(token, state, role="operator", tenant=tenant)
    with Progress(console=err, transient=True) as progress:
        bar = progress.add_task(path.split("/")[2], total=None)
        return with_api(
            lambda api: ask_in_turns(
                api,
                path,
                counts,
                towards_left=towards_left,
                dry_run=dry_run,
                said=lambda done, left: progress.update(bar, completed=done, total=done + left),
            ),
            url=url, token=chosen, state=state, role="operator", tenant=tenant,
        )  # fmt: skip
