"""Seals that calls ask for. A seal is one transaction, and takes as long as the tenant is large: a call begins it and waits for a
while, the next goes on waiting, in whatever process; docs/decisions/0226 argues it.

Who works here is a job of the process: a seal ends with the process that takes it, not with the call that asked for it. Nothing is
kept of a run but what its cursor says.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import structlog

from services.redeem.domain.seal import Seal, SealBusy
from services.redeem.jobs.exporting import FolderFailed, SealsForked, export, refuse_forked
from services.redeem.jobs.sealing import signer_of, take_seal, would_seal
from services.redeem.store import seals
from shared.http.problems import TenantUnavailable
from shared.ids import uuid7
from shared.messaging.commands import Item
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

_NOT_EXPORTED = (
    "What is sealed stands in the database, but its file can't be read or written here: {}. redeem's log names it. Mend the "
    "folder of POINTBANK_SEAL_FOLDER, and ask again."
)
_FORKED = (
    "Nothing is sealed (seal_forked): {} exported seals are not in the database, the first is {}. PostgreSQL lost commits, or its "
    "seals were changed. Where it goes on as it is, give `pointbank seal adopt`, and ask again; docs/runbook.md, PointbankSealLate."
)
BUSY_S = 0.1
"""So long a call waits before it asks again whether another process is still sealing."""


class SealRun(msgspec.Struct, frozen=True):
    """A run, as its cursor says it. A seal numbered after `after` that began at `asked_at` (PostgreSQL's clock) or later has all
    that was there when the run began."""

    run: UUID
    after: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    asked_at: Annotated[datetime, msgspec.Meta(tz=True)]


class SealDone(msgspec.Struct, frozen=True):
    """What a run came to: its seal, or the one that it would take, None where nothing is new; how many seals it wrote to this
    process's folder, or would write."""

    seal: Seal | None
    exported: int = 0


@dataclass(frozen=True)
class Wanted:
    """What a run is to do; `item` says who asked, for the audit and the event. `resumed`: it may have been done elsewhere.
    `exported`: what the folder lacks is written to it too."""

    run: SealRun
    item: Item[Any]
    dry_run: bool
    whole: bool
    resumed: bool
    exported: bool = True


@dataclass
class _Work:
    wanted: Wanted
    done: asyncio.Future[SealDone] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def failed(self) -> bool:
        """Whether it has ended, and came to nothing."""
        return self.done.cancelled() or self.done.exception() is not None


class _Desk:
    """One seal at a time is worked on in a process: the others would wait for its turn in the database, with a connection each."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.work: _Work | None = None

    def begin(self, wanted: Wanted) -> _Work:
        self.work = _Work(wanted)
        # Who asked may be gone: then nobody hears of an error, and the next call does it anew.
        self.work.done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.wake.set()
        return self.work


def _desk(cache: dict[Any, Any]) -> _Desk:
    found: _Desk | None = cache.get(_Desk)
    if found is None:
        found = cache[_Desk] = _Desk()
    return found


async def begin_run(runtime: TenantRuntime) -> SealRun:
    """A run that begins now."""
    async with runtime.read() as db:
        after, asked_at = await seals.standing(db)
    return SealRun(uuid7(), after, asked_at)


async def wait_for_seal(runtime: TenantRuntime, wanted: Wanted, *, within_s: float) -> SealDone | None:
    """What the run came to; None: it is not over after so many seconds, ask again. Raises what kept it from its end."""
    desk, over = _desk(runtime.cache), time.monotonic() + within_s
    while True:
        work = desk.work
        if work is None or (work.done.done() and (work.failed or work.wanted.run != wanted.run)):
            work = desk.begin(wanted)
        await asyncio.wait([work.done], timeout=max(0.0, over - time.monotonic()))
        if not work.done.done() or work.done.cancelled():
            return None
        if work.wanted.run != wanted.run:
            continue  # our turn
        try:
            return work.done.result()
        except SealBusy:
            if time.monotonic() + BUSY_S >= over:
                return None
            await asyncio.sleep(BUSY_S)


async def seal_on_call(runtime: TenantRuntime) -> None:
    """Takes the seals that calls of this process ask for, as long as it runs."""
    desk = _desk(runtime.cache)
    while True:
        await desk.wake.wait()
        desk.wake.clear()
        if (work := desk.work) is not None and not work.done.done():
            await _do(runtime, work)


async def _do(runtime: TenantRuntime, work: _Work) -> None:
    try:
        work.done.set_result(await _seal(runtime, work.wanted))
    except asyncio.CancelledError:
        work.done.cancel()
        raise
    except Exception as error:  # noqa: BLE001  # it rises in the call that waits
        work.done.set_exception(error)


async def _seal(runtime: TenantRuntime, wanted: Wanted) -> SealDone:
    folder = runtime.settings.seal_folder
    try:
        await refuse_forked(runtime.pool, runtime.code, folder)
    except SealsForked as forked:
        runtime.metrics.failed(runtime.code, forked)
        log.error("seals are forked", tenant=runtime.code, code=forked.guard, foreign=forked.foreign[:10])
        raise TenantUnavailable(_FORKED.format(len(forked.foreign), forked.foreign[0])) from forked
    made = await _taken(runtime, wanted)
    if folder is None or not wanted.exported:
        return SealDone(made)
    try:
        done = await export(runtime.pool, runtime.code, folder, only_look=wanted.dry_run)
    except FolderFailed as failed:
        log.error("seals can't be exported", tenant=runtime.code, file=failed.filename, error=failed.strerror)
        raise TenantUnavailable(_NOT_EXPORTED.format(failed.strerror)) from failed
    # A seal that would be taken would be there to be exported.
    return SealDone(made, done.written + (wanted.dry_run and made is not None))


async def _taken(runtime: TenantRuntime, wanted: Wanted) -> Seal | None:
    signer = signer_of(runtime)
    if wanted.dry_run:
        return await would_seal(runtime.pool, signer, whole=wanted.whole)
    if wanted.resumed and not wanted.whole and (made := await _since(runtime, wanted.run)) is not None:
        return made  # by the process that began it, or by another's own turn: it is as good
    made = await take_seal(runtime.writer, signer, item=wanted.item, whole=wanted.whole)
    return made if made is not None else await _since(runtime, wanted.run)


async def _since(runtime: TenantRuntime, run: SealRun) -> Seal | None:
    async with runtime.read() as db:
        return await seals.first_since(db, run.after, run.asked_at)
