"""Files that commands are given."""

from __future__ import annotations

from pathlib import Path

import typer


def text_of(file: Path) -> str:
    """What stands in it; refused where that is no text in UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file} is no text in UTF-8: {error}") from error
