"""Files that commands write."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    if path.exists() and not path.is_file():  # asked of the name as it is: what /dev/stdout leads to has none
        with path.open(mode, **more) as file:
            yield file
        return
    target = path.resolve()
    try:
        file = _part_of(target, mode, **more)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    part = Path(file.name)
    ended: typer.Exit | None = None
    try:
        with file:
            try:
                yield file
            except typer.Exit as exit_:  # a command's own end, whatever it found
                ended = exit_
            file.flush()
            os.fsync(file.fileno())
        _put(part, target)
        if ended is not None:
            raise ended
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_piece(file: Any) -> Iterator[None]:
    """What is written here to a `whole_file` is there whole, or nothing of it where it fails, as the lines of one of many tenants.
    What a pipe has heard it has heard."""
    began = file.tell() if file is not None and file.seekable() else None
    try:
        yield
    except BaseException:
        if began is not None:
            file.seek(began)
            file.truncate()
        raise


def _part_of(target: Path, mode: str, **more: Any) -> Any:
    """What is written first: beside the file, or elsewhere where only the file itself may be written. Nobody else may read it."""
    begins = f".{target.name}."
    try:
        return tempfile.NamedTemporaryFile(mode, dir=target.parent, prefix=begins, delete=False, **more)
    except PermissionError:
        if not os.access(target, os.W_OK):
            raise
        return tempfile.NamedTemporaryFile(mode, prefix=begins, delete=False, **more)


def _put(part: Path, target: Path) -> None:
    """The part becomes the file, whose mode and owner stay what they were; where it can't take its place it is copied into it."""
    before = target.stat() if target.exists() else None
    if before is None:
        part.chmod(0o666 & ~_umask())
    else:
        part.chmod(stat.S_IMODE(before.st_mode))
        with suppress(PermissionError):
            os.chown(part, before.st_uid, before.st_gid)
    try:
        part.replace(target)
    except OSError:
        if before is None:
            raise
        shutil.copyfile(part, target)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
