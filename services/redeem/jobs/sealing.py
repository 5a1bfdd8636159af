"""Sealing the ledger: a signed root over the heads that are new, kept in the database and exported outside of it (exporting.py).

A seal is one REPEATABLE READ transaction beside the lane: it takes no lock that a posting waits for. Which heads are new is a
difference of snapshots (`covered_until` in seals.sql); docs/decisions/0070 argues it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import structlog

from services.redeem.domain.merkle import Pages, leaf_hash
from services.redeem.domain.seal import Seal, SealBusy, Signer
from services.redeem.jobs.exporting import SealsForked, export, export_new, refuse_forked
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
        seal, snapshot, pages, sequence = found
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
        tx.emit(said, subject=SUBJECT, sequence=sequence, item=item)
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
) -> tuple[Seal, str, bytes, int] | None:
    turn = await seals.take_turn(db)
    if not turn.mine:
        raise SealBusy("another process is sealing this tenant")
    last = await seals.last_seal(db)
    no, sequence = await seals.next_place(db)
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
    return seal, turn.snapshot, page_roots, sequence


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


# ---- the job of the service


class Standing(msgspec.Struct):
    """How far a process has come with a tenant: when all wallets, and all files, are looked at next; what is exported."""

    whole_at: float
    all_files_at: float = 0.0
    exported: Seal | None = None


async def seal(runtime: TenantRuntime) -> None:
    """One turn: seals what is new, unless another process has just done so; exports what is new, and once a day, and at
    first, whatever the folder lacks. SealsForked where the folder has what the database lacks: then it does neither."""
    now = asyncio.get_running_loop().time()
    runtime.metrics.seal_begins(runtime.code, time.time())
    standing: Standing = runtime.cache.setdefault(Standing, Standing(now + WHOLE_EVERY_S))
    await _compare(runtime, standing, now)
    await _take(runtime, standing, now)
    await _export(runtime, standing, now)
    runtime.metrics.seal_turn(runtime.code, time.time())


async def _compare(runtime: TenantRuntime, standing: Standing, now: float) -> None:
    if now >= standing.all_files_at:
        standing.exported = None
    # What was compared before lies under what is exported: that one, and all above it, must still be known.
    since = 0 if standing.exported is None else standing.exported.no
    try:
        await refuse_forked(runtime.pool, runtime.code, runtime.settings.seal_folder, since=since)
    except SealsForked:
        standing.exported = None  # looked at whole again at each turn, until somebody has dealt with it
        raise


async def _take(runtime: TenantRuntime, standing: Standing, now: float) -> None:
    whole = now >= standing.whole_at
    async with runtime.read() as db:
        lately = await seals.sealed_within(db, runtime.settings.seal_every_s / 2)
    if lately and not whole:
        return
    try:
        made = await take_seal(runtime.writer, signer_of(runtime), item=job_item(), whole=whole)
    except SealBusy:
        return  # its seal is as good as ours
    if whole:
        standing.whole_at = now + WHOLE_EVERY_S
    if made is not None:
        log.info("sealed", tenant=runtime.code, no=made.no, leaves=made.leaves)


async def _export(runtime: TenantRuntime, standing: Standing, now: float) -> None:
    folder = runtime.settings.seal_folder
    if folder is None:
        return
    if standing.exported is None:
        done = await export(runtime.pool, runtime.code, folder)
        standing.all_files_at = now + WHOLE_EVERY_S
    else:
        done = await export_new(runtime.pool, runtime.code, folder, standing.exported)
    standing.exported = done.newest


def signer_of(runtime: TenantRuntime) -> Signer:
    """The tenant's signer, made once in a process."""
    known = runtime.cache.get("signer")
    if known is None:
        known = runtime.cache["signer"] = Signer(runtime.settings.seal_root(), runtime.code)
    assert isinstance(known, Signer)
    return known
