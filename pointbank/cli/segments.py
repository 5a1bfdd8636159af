"""Which segments members are in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pointbank.cli.asking import ABSENT_S, bearer
from pointbank.cli.options import HERE, VAR, AsJson, State, TenantOption, Url
from pointbank.cli.reading import text_of
from pointbank.cli.say import counted, err, out, print_json

group = typer.Typer(help="Which segments members are in.", no_args_is_help=True)

Segment = Annotated[str, typer.Argument(help="The segment's code.")]
File = Annotated[
    Path,
    typer.Argument(help="External ids of members, one a line.", exists=True, dir_okay=False, readable=True),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="POINTBANK_TOKEN",
        help="A token with members:read and members:write; else one of the state folder's keys.",
    ),
]


@group.command("put")
def put(
    segment: Segment,
    file: File,
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="When it begins, with its offset; else now.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before when it ends; else it has no end.")] = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Puts members into a segment; safe to repeat. Exits 1 where somebody is not known."""
    stay = {name: value for name, value in (("from_at", from_), ("until_at", until)) if value is not None}
    _run(segment, file, tenant, url, token, state, stay=stay, taken_out=False, as_json=as_json)


@group.command("remove")
def remove(
    segment: Segment,
    file: File,
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Takes members out of a segment; safe to repeat. Exits 1 where somebody is not known."""
    _run(segment, file, tenant, url, token, state, stay={}, taken_out=True, as_json=as_json)


def _run(
    segment: str,
    file: Path,
    tenant: str,
    url: str,
    token: str | None,
    state: Path,
    *,
    stay: dict[str, str],
    taken_out: bool,
    as_json: bool,
) -> None:
    import asyncio

    from rich.progress import Progress

    from pointbank.api import Api
    from pointbank.files.segments import Moved, move_members

    chosen = bearer(token, state, role="crm", tenant=tenant)
    ids = [line.strip() for line in text_of(file).splitlines() if line.strip()]

    async def run() -> Moved:
        with Progress(console=err, transient=True) as progress:
            bar = progress.add_task("members", total=len(ids))
            async with Api(url, lambda _: chosen, absent_s=ABSENT_S) as api:
                return await move_members(
                    api,
                    segment,
                    ids,
                    out=taken_out,
                    stay=stay,
                    said=lambda n: progress.update(bar, completed=n),
                )

    moved = asyncio.run(run())
    if as_json:
        print_json({"segment": segment, "members": moved.members, "unknown": moved.unknown})
    else:
        are = "is" if moved.members == 1 else "are"
        out.print(f"{counted(moved.members, 'member')} {are} {'out of' if taken_out else 'in'} {segment}.")
        for one in moved.unknown:
            err.print(f"nobody has the external id {one}")
    if moved.unknown:
        raise typer.Exit(1)
