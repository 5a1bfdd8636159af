"""The seals outside of the database: a file each in the tenant's folder, written once and never changed.

What lies there that the database does not know says that it lost commits, or that its seals were changed. Then no seal is taken:
it would be a second history of the same numbers; docs/decisions/0259 argues it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, NamedTuple

import msgspec
import structlog

from services.redeem.domain.seal import Seal, file_of, written
from services.redeem.store import seals
from shared.db import Pool
from shared.ids import uuid7

log = structlog.get_logger(__name__)


class SealsForked(Exception):
    """Seals were exported that the database does not know: nothing is sealed until an operator has adopted or mended it."""

    guard: ClassVar[str] = "seal_forked"

    def __init__(self, tenant: str, foreign: Sequence[str]) -> None:
        super().__init__(
            f"{self.guard}: tenant {tenant}: {len(foreign)} exported seals are not in the database, the first is {foreign[0]}. "
            "PostgreSQL lost commits, or somebody changed its seals: none is taken until that is decided. Where it was restored "
            f'or failed over and goes on as it is: `pointbank seal adopt --tenant {tenant} --reason "..."`'
        )
        self.foreign = list(foreign)


class FolderFailed(OSError):
    """The folder of seals can't be read or written. What was sealed stands in the database."""


class Exported(NamedTuple):
    """What an export did: how many seals it wrote, and the newest seal that is there now."""

    written: int
    newest: Seal | None


_FILE = re.compile(r"(\d{12})-([0-9a-f]{16})\.json")


async def refuse_forked(pool: Pool, tenant: str, folder: Path | None, *, since: int = 0) -> None:
    """Before a seal is taken: raises SealsForked where the tenant's folder has seals, numbered `since` or above, that the database
    has neither taken nor adopted. A folder that can't be read keeps nobody from sealing, only from exporting."""
    if folder is None:
        return
    try:
        found = await foreign_files(pool, folder / tenant, since=since)
    except FolderFailed as failed:
        log.warning(
            "exported seals can't be compared", tenant=tenant, file=failed.filename, error=failed.strerror
        )
        return
    if found:
        raise SealsForked(tenant, found)


async def foreign_files(pool: Pool, place: Path, *, since: int = 0) -> list[str]:
    """The files of seals that the database does not know, in their order."""
    names = await asyncio.to_thread(_files, place)
    parts = [(int(part[1]), bytes.fromhex(part[2])) for part in map(_FILE.fullmatch, names) if part]
    # The folder was read first, and a seal is committed before it is exported: what is unknown now was never committed here.
    async with pool.acquire() as db:
        found = await seals.unknown_seals(db, [part for part in parts if part[0] >= since])
    return [f"{no:012d}-{beginning.hex()}.json" for no, beginning in found]


async def export(pool: Pool, tenant: str, folder: Path, *, only_look: bool = False) -> Exported:
    """Writes every seal that the tenant's folder lacks, each whole or not at all. Nothing there is ever changed. With `only_look`
    it is only said what would be written."""
    place = folder / tenant
    there = await asyncio.to_thread(_files, place)
    no, count = 1, 0
    newest: Seal | None = None
    while True:
        async with pool.acquire() as db:
            page = await seals.seals_from(db, no)
        if not page:
            return Exported(count, newest)
        count += await asyncio.to_thread(_write_missing, place, tenant, page, there, only_look=only_look)
        newest, no = page[-1], page[-1].no + 1


async def export_new(pool: Pool, tenant: str, folder: Path, last: Seal) -> Exported:
    """The same for the seals after the last one that is known to be there; of all, where that one is not as it was."""
    newest, count = last, 0
    while True:
        async with pool.acquire() as db:
            page = await seals.seals_from(db, newest.no)
        if not page or page[0].hash != newest.hash:
            return await export(pool, tenant, folder)
        if len(page) == 1:
            return Exported(count, newest)
        count += await asyncio.to_thread(_write_missing, folder / tenant, tenant, page[1:], frozenset[str]())
        newest = page[-1]


@contextmanager
def _named(place: Path) -> Iterator[None]:
    """What goes wrong with files, as FolderFailed of the file or of the folder."""
    try:
        yield
    except OSError as error:
        raise FolderFailed(error.errno, error.strerror, error.filename or str(place)) from error


def _files(place: Path) -> set[str]:
    with _named(place), suppress(FileNotFoundError):
        return {name for name in os.listdir(place) if _FILE.fullmatch(name)}  # noqa: PTH208
    return set()


def read_file(place: Path, name: str) -> bytes:
    """A file's content; FolderFailed."""
    with _named(place / name):
        return (place / name).read_bytes()


def _write_missing(
    place: Path, tenant: str, page: Sequence[Seal], there: Set[str], *, only_look: bool = False
) -> int:
    count = 0
    for seal in page:
        name = file_of(seal)
        with _named(place):
            if name in there or (place / name).exists():
                continue
            count += 1
            if only_look:
                continue
            place.mkdir(parents=True, exist_ok=True)
            write_whole(place / name, msgspec.json.encode(written(tenant, seal)) + b"\n")
    return count


def write_whole(path: Path, content: bytes) -> None:
    """A file that is there whole or not at all, also after a power failure: written aside, synced, renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{uuid7().hex}")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
