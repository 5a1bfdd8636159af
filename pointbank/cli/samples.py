"""Bills to try it with: generated ones, and real sales."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from pointbank.cli.options import VAR, AsJson, State


def generate(
    bills: Annotated[int, typer.Option(min=0, help="How many bills.")] = 2000,
    members: Annotated[
        int, typer.Option(min=1, help="How many members; the busiest have the most bills (Zipf).")
    ] = 400,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bills.")] = 1,
    file: Annotated[Path | None, typer.Option("--out", help="A file, else stdout.")] = None,
) -> None:
    """Makes a sample of bills as JSON lines: several lines each, realistic hours, the same for the same seed."""
    from pointbank.generate import json_lines
    from pointbank.generate.people import MOST

    if members > MOST:
        raise typer.BadParameter(
            f"--members {members} is more than there are mobile numbers: ask for {MOST:,} at most"
        )
    target = sys.stdout if file is None else file.open("w", encoding="utf-8")
    try:
        for line in json_lines(bills=bills, members=members, seed=seed):
            target.write(line + "\n")
    finally:
        if file is not None:
            target.close()


def replay(
    online_retail: Annotated[
        Path,
        typer.Option(
            "--online-retail", exists=True, dir_okay=False, help="An Online Retail CSV, .gz or not."
        ),
    ],
    state: State = VAR,
    via: Annotated[Literal["stream", "http"], typer.Option(help="How the bills are sent.")] = "stream",
    refunds: Annotated[
        bool, typer.Option("--refunds", help="Send the cancellations too, as refunds of earlier bills.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rings up a file of real sales as a till would, waits until all is settled, verifies. Exit 1 if verify does not hold."""
    from pointbank.retail.replay import run_replay

    raise typer.Exit(run_replay(online_retail, state=state, via=via, as_json=as_json, refunds=refunds))
