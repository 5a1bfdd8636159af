"""Sealing the ledger: a signed root over the heads that are new, kept in the database and exported outside of it.

A seal is one REPEATABLE READ transaction beside the lane: it takes no lock that a posting waits for. Which heads are new is a
difference of snapshots (`covered_until` in seals.sql); docs/decisions/0070 argues it.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
import structlog

from services.redeem.domain.merkle import Pages, leaf_hash
from services.redeem.domain.seal import Seal, Signer, written
from services.redeem.store import seals
from shared.db import Connection, Pool
from shared.events.seals import LedgerSealed
from shared.ids import uuid7
from shared.messaging.commands import FromJob, Item
from shared.messaging.transaction import Tx
from shared.messaging.writer import Writer
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

CLOCK_MARGIN = timedelta(minutes=10)
"""PostgreSQL's clock may have stood so far back since the last seal (another server took over) without anything being missed."""
WHOLE_EVERY_S = 86_400.0
"""So often each process compares all wallets with what was sealed, whatever the clock did."""
SUBJECT = "ledger"

Progress = Callable[[int], None]
"""Told how many heads were read so far."""


class SealBusy(Exception):
    """Another process is sealing this tenant at this moment: there will be one seal, and it is that one's."""


class SealsForked(Exception):
    """Seals were exported that the database does not know: it lost commits, or its seals were changed."""

    guard = "seal_forked"


class FolderFailed(OSError):
    """The folder of seals can't be read or written. What was sealed stands in the database."""


class Exported(NamedTuple):
    """What an export did: how many seals it wrote, the files of seals that the database does not have, and the newest seal
    that is there now."""

    written: int
    foreign: list[str]
    newest: Seal | None


def job_item(actor: str = "job:seal") -> Item[None]:
    """Who seals, for the audit and the event."""
    return Item(command=None, origin=FromJob("seal"), request_id=str(uuid7()), actor=actor)


async def take_seal(
    writer: Writer, signer: Signer, *, item: Item[Any], whole: bool = False, progress: Progress | None = None
) -> Seal | None:
    """Seals what is new, tells it and notes it in the audit; None where nothing is new. SealBusy while another does.

    `whole` looks at every wallet and gift card, not only at those posted to since the last seal.
    """

    async def work(tx: Tx) -> Seal | None:
        found = await _found(tx.db, signer, whole=whole, keep=True, progress=progress)
        if found is None:
            return None
        seal, snapshot, pages = found
        await seals.keep_seal(tx.db, seal, snapshot=snapshot, pages=pages)
        said = LedgerSealed(
            no=seal.no,
            sealed_at=seal.sealed_at,
            leaves=seal.leaves,
            root=seal.root.hex(),
            previous=seal.previous.hex(),
            hash=seal.hash.hex(),
            public_key=seal.public_key.hex(),
            signature=seal.signature.hex(),
        )
        tx.emit(said, subject=SUBJECT, sequence=seal.no, item=item)
        tx.audit("ledger.seal", f"seal/{seal.no}", item=item, after=said)
        return seal

    try:
        return await writer.write_apart(work)
    except asyncpg.UniqueViolationError as error:
        # The other one committed between our snapshot and our turn.
        raise SealBusy("another process has just sealed") from error


async def would_seal(
    pool: Pool, signer: Signer, *, whole: bool = False, progress: Progress | None = None
) -> Seal | None:
    """The seal that would be taken now; nothing is written."""
    async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
        found = await _found(db, signer, whole=whole, keep=False, progress=progress)
    return None if found is None else found[0]


async def _found(
    db: Connection, signer: Signer, *, whole: bool, keep: bool, progress: Progress | None
) -> tuple[Seal, str, bytes] | None:
    turn = await seals.take_turn(db)
    if not turn.mine:
        raise SealBusy("another process is sealing this tenant")
    last = await seals.last_seal(db)
    no = 1 if last is None else int(last["no"]) + 1
    since = None if whole else await _since(db, turn.began, last)
    pages = Pages()
    for holder in seals.HOLDERS:
        # Seals of before covered no card: the first that does looks at all of them.
        from_then = since if holder == "wallet" or await seals.cards_sealed(db) else None
        async for heads in seals.new_heads(db, holder, from_then):
            if keep:
                await seals.keep_leaves(db, no, pages.count, heads)
            for head in heads:
                pages.add(leaf_hash(*head.leaf))
            if progress is not None:
                progress(pages.count)
    if not pages.count:
        return None
    root, page_roots = pages.close()
    seal = signer.seal(
        no=no,
        previous=None if last is None else last["hash"],
        sealed_at=turn.began,
        leaves=pages.count,
        root=root,
    )
    return seal, turn.snapshot, page_roots


async def new_since(db: Connection) -> datetime | None:
    """The moment from which lines have to be looked at for what no seal has; None: all of them have to be."""
    _, now = await seals.standing(db)
    return await _since(db, now, await seals.last_seal(db))


async def _since(db: Connection, began: datetime, last: Any) -> datetime | None:
    """The moment from which lines have to be looked at; None: every wallet and card has to be."""
    if last is None or began <= last["sealed_at"]:
        return None  # the first, or a clock that stood back: no moment says what is new
    covered = await seals.covered_until(db)
    return None if covered is None else covered - CLOCK_MARGIN


# ---- outside of the database


def file_of(seal: Seal) -> str:
    """A seal's file: its number, and the beginning of its hash, so that two of one number stand side by side."""
    return f"{seal.no:012d}-{seal.hash.hex()[:16]}.json"


_FILE = re.compile(r"(\d{12})-[0-9a-f]{16}\.json")


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
            break
        count += await asyncio.to_thread(_write_missing, place, tenant, page, there, only_look=only_look)
        there.difference_update(map(file_of, page))
        newest, no = page[-1], page[-1].no + 1
    # The folder was read first, and a seal is committed before it is exported: what is left over was never committed here.
    return Exported(count, sorted(there), newest)


async def export_new(pool: Pool, tenant: str, folder: Path, last: Seal) -> Exported:
    """The same for the seals after the last one that is known to be there; of all, where that one is not as it was."""
    newest, count = last, 0
    while True:
        async with pool.acquire() as db:
            page = await seals.seals_from(db, newest.no)
        if not page or page[0].hash != newest.hash:
            return await export(pool, tenant, folder)
        if len(page) == 1:
            return Exported(count, [], newest)
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


# ---- the job of the service


class Standing(msgspec.Struct):
    """How far a process has come with a tenant: when all wallets, and all files, are looked at next; what is exported."""

    whole_at: float
    all_files_at: float = 0.0
    exported: Seal | None = None


async def seal(runtime: TenantRuntime) -> None:
    """One turn: seals what is new, unless another process has just done so; exports what is new, and once a day, and at
    first, whatever the folder lacks."""
    now = asyncio.get_running_loop().time()
    runtime.metrics.seal_begins(runtime.code, time.time())
    standing: Standing = runtime.cache.setdefault(Standing, Standing(now + WHOLE_EVERY_S))
    whole = now >= standing.whole_at
    async with runtime.read() as db:
        lately = await seals.sealed_within(db, runtime.settings.seal_every_s / 2)
    if whole or not lately:
        try:
            made = await take_seal(runtime.writer, signer_of(runtime), item=job_item(), whole=whole)
            if whole:
                standing.whole_at = now + WHOLE_EVERY_S
            if made is not None:
                log.info("sealed", tenant=runtime.code, no=made.no, leaves=made.leaves)
        except SealBusy:
            pass  # its seal is as good as ours
    await _export(runtime, standing, now)
    runtime.metrics.seal_turn(runtime.code, time.time())


async def _export(runtime: TenantRuntime, standing: Standing, now: float) -> None:
    folder = runtime.settings.seal_folder
    if folder is None:
        return
    if standing.exported is None or now >= standing.all_files_at:
        done = await export(runtime.pool, runtime.code, folder)
    else:
        done = await export_new(runtime.pool, runtime.code, folder, standing.exported)
    if done.foreign:
        standing.exported = None  # looked at whole again at each turn, until somebody has dealt with it
        said = f"{len(done.foreign)} exported seals are not in the database, the first is {done.foreign[0]}"
        raise SealsForked(f"tenant {runtime.code}: {said}")
    if standing.exported is None:
        standing.all_files_at = now + WHOLE_EVERY_S
    standing.exported = done.newest


def signer_of(runtime: TenantRuntime) -> Signer:
    """The tenant's signer, made once in a process."""
    known = runtime.cache.get("signer")
    if known is None:
        known = runtime.cache["signer"] = Signer(runtime.settings.seal_root(), runtime.code)
    assert isinstance(known, Signer)
    return known
