"""What is said: answers on stdout, anything else on stderr."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

out, err = Console(), Console(stderr=True)

SAID_EVERY_S = 5.0
"""As often as a log is told how far a job has come."""


def print_json(value: Any) -> None:
    """One JSON document, for machines."""
    typer.echo(json.dumps(value, default=str, ensure_ascii=False))


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
