"""Files that commands write."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer


@contextmanager
def whole_file(path: Path | None, mode: str, **more: Any) -> Iterator[Any]:
    """A file that is there when all of it is written: what stood there before stays until then, and for good where it fails. A pipe
    or a terminal is written as it comes. None without a path."""
    if path is None:
        yield None
        return
    target = path.resolve()
    if target.exists() and not target.is_file():
        with target.open(mode, **more) as file:
            yield file
        return
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        file = part.open(mode, **more)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    ended: typer.Exit | None = None
    try:
        with file:
            try:
                yield file
            except typer.Exit as exit_:  # a command's own end, whatever it found
                ended = exit_
        if target.exists():
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        part.replace(target)
        if ended is not None:
            raise ended
    finally:
        part.unlink(missing_ok=True)
