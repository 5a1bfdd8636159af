"""What is said: answers on stdout, anything else on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table


def console(**more: Any) -> Console:
    """Says words as they are: what tills and people wrote is no markup of ours, and where a line ends is a terminal's affair."""
    return Console(markup=False, emoji=False, soft_wrap=True, **more)


out, err = console(), console(stderr=True)

_WIDEST = 10_000
"""Columns that any table of ours fits into."""
SAID_EVERY_S = 5.0
"""As often as a log is told how far a job has come."""


def print_json(value: Any) -> None:
    """One JSON document, for machines."""
    letters = getattr(sys.stdout, "encoding", None) or "utf-8"
    typer.echo(json.dumps(value, default=str, ensure_ascii=not letters.lower().startswith("utf")))


def counted(n: int, one: str, more: str | None = None) -> str:
    """`1 wallet`, `2 wallets`: a number with what it counts; `more` where the plural takes more than an s."""
    return f"{n:,} {one if n == 1 else more or one + 's'}"


def table_of(*columns: str) -> Table:
    """A table; a column named with a star holds ids or codes, which people copy: they stand whole, the others give way."""
    from rich.table import Table

    table = Table()
    for name in columns:
        whole, said = name.startswith("*"), name.removeprefix("*")
        table.add_column(said, no_wrap=whole, overflow="fold", min_width=len(max(said.split(), key=len)))
    return table


def print_table(table: Table) -> None:
    """On a terminal as wide as it is, and wider where ids need it; elsewhere as wide as the table."""
    from rich.measure import Measurement

    need = Measurement.get(out, out.options.update(max_width=_WIDEST), table)
    width = max(out.width, need.minimum if out.is_terminal else need.maximum)
    wide = Console(
        file=out.file, width=width, force_terminal=out.is_terminal, highlight=False, markup=False, emoji=False
    )
    wide.print(table)


def progress() -> Callable[[str], None]:
    """Says how far a job has come: on a terminal in one line that is written anew; else the first time, and then a line every few
    seconds."""
    due = 0.0

    def say(so_far: str) -> None:
        nonlocal due
        if err.is_terminal:
            err.print(f"{so_far} ...".ljust(err.width - 1), end="\r", highlight=False, markup=False)
        elif time.monotonic() >= due:
            due = time.monotonic() + SAID_EVERY_S
            err.print(f"{so_far} ...", highlight=False, markup=False)

    return say
