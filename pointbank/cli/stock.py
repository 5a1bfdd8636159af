"""Stock: what was counted where it lies."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import counted, err, out, print_json

if TYPE_CHECKING:
    from pointbank.files.stock import Imported

group = typer.Typer(help="Stock of rewards, as it was counted.", no_args_is_help=True)


@group.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="CSV: programme, reward, location, day, on_hand, and perhaps used.")
    ],
    tenant: TenantOption = "demo",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Says what would be kept and what differs; nothing is written.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Keeps counts and holds them against the catalogue's stock: what differs is a difference with an owner and a state, closed
    by a later count that agrees. All mistakes are told with their lines, and then nothing is kept; the same file again does
    nothing. Exit 1: mistakes or differences; 2: the file can't be read."""
    import msgspec

    from pointbank.files.stock import import_stock
    from shared.config import Settings

    actor = f"cli:{os.environ.get('SUDO_USER') or os.environ.get('USER') or 'operator'}"
    with err.status("counting") as status:
        done = asyncio.run(
            import_stock(
                Settings(), tenant, file, dry_run=dry_run, actor=actor,
                say=lambda counts: status.update(f"counting: {counted(counts, 'count')}"),
            )
        )  # fmt: skip
    if as_json:
        print_json(msgspec.to_builtins(done))
    else:
        _tell(done)
    raise typer.Exit(1 if done.mistakes or done.apart else 0)


def _tell(done: Imported) -> None:
    for one in done.mistakes:
        out.print(f"line {one.line}: {one.code}: {one.detail}", highlight=False, markup=False)
    if done.mistakes:
        out.print(f"{len(done.mistakes):,} of {done.counts:,} lines are refused; nothing is kept.")
        return
    would = "would be " if done.dry_run else ""
    out.print(
        f"{counted(done.counted, 'count')} {would}kept, {done.known:,} known; {counted(len(done.apart), 'number')} apart, "
        f"{counted(done.closed, 'difference')} {would}closed."
    )
    for apart in done.apart:
        said = f"{apart['subject']}: {apart['found']}, expected {apart['expected']}"
        out.print(said, highlight=False, markup=False)
