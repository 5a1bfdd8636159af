"""What is said: answers on stdout, anything else on stderr."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console

out, err = Console(), Console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document, for machines."""
    typer.echo(json.dumps(value, default=str, ensure_ascii=False))
