"""Sealing and reconciling a tenant's ledger from the command line: the service's own jobs, run with its own role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import msgspec

from pointbank.logins import find_served
from pointbank.waking import ask_to_wake
from services.redeem.domain.accruals import DayCompared
from services.redeem.domain.lost_seals import Adoption, AdoptSeals
from services.redeem.domain.reconciliation import ReconcilePage, SealCompared
from services.redeem.domain.seal import SealBusy, Signer, written
from services.redeem.handlers import ON
from services.redeem.jobs.adopting import find_lost, would_adopt
from services.redeem.jobs.exporting import SealsForked, export, refuse_forked
from services.redeem.jobs.reconciling import Progress, reconcile, unheard
from services.redeem.jobs.reconciling_dry import would_reconcile
from services.redeem.jobs.sealing import Progress as SealProgress
from services.redeem.jobs.sealing import job_item, take_seal, would_seal
from shared.clock import TenantClock
from shared.config import NotConfigured, Settings
from shared.ids import uuid7
from shared.messaging.bus import redis_client
from shared.messaging.commands import Done, FromJob, Item, Outcome
from shared.messaging.keys import Keys
from shared.messaging.sealer import Sealer
from shared.messaging.writer import Writer
from shared.runtime import open_tenant_pool
from shared.upkeep import Upkeep

T = TypeVar("T")
SERVICE = "redeem"
BUSY_S = 0.1
"""So long it waits before it looks again whether another process is still sealing."""


@asynccontextmanager
async def writer_of(settings: Settings, tenant: str) -> AsyncIterator[Writer]:
    """Writes as redeem does, beside its processes; what is told goes out with their next look at the outbox.

    UnknownTenant where nobody made the tenant, NotServed where it is not active.
    """
    found = await find_served(settings, tenant, SERVICE)
    pool = await open_tenant_pool(settings, found, SERVICE)
    redis = redis_client(settings.redis_url)
    clock = TenantClock()
    try:
        await Upkeep(pool, settings, tenant, clock).compare_clocks()
        yield Writer(
            pool,
            found,
            clock,
            redis,
            Keys(found.cell, tenant),
            Sealer(settings.secret_of(SERVICE), tenant),
            {},
        )
    finally:
        await redis.aclose()
        await pool.close()


async def seal_tenant(
    settings: Settings,
    tenant: str,
    *,
    actor: str,
    dry_run: bool = False,
    whole: bool = False,
    progress: SealProgress | None = None,
) -> dict[str, Any]:
    """Seals what is new and exports what the folder lacks: `seal` (null where nothing is new), `exported`. Where the folder has
    `foreign` seals, which the database lacks, it does neither. A dry run says what would be sealed and exported."""
    signer = Signer(settings.seal_root(), tenant)
    exported = 0
    async with writer_of(settings, tenant) as writer:
        try:
            await refuse_forked(writer.pool, tenant, settings.seal_folder)
        except SealsForked as forked:
            return {"dry_run": dry_run, "seal": None, "exported": 0, "foreign": forked.foreign}
        if dry_run:
            made = await _in_turn(lambda: would_seal(writer.pool, signer, whole=whole, progress=progress))
        else:
            item = job_item(actor)
            made = await _in_turn(
                lambda: take_seal(writer, signer, item=item, whole=whole, progress=progress)
            )
        if settings.seal_folder is not None:
            done = await export(writer.pool, tenant, settings.seal_folder, only_look=dry_run)
            # A seal that would be taken would be there to be exported.
            exported = done.written + (dry_run and made is not None)
    return {
        "dry_run": dry_run,
        "seal": None if made is None else written(tenant, made),
        "exported": exported,
        "foreign": [],
    }


async def adopt_seals(
    settings: Settings, tenant: str, *, actor: str, reason: str, dry_run: bool = False
) -> dict[str, Any]:
    """The database, as it is now, goes on: what the folder has and it lacks is recorded as `lost`, and the seal after `after_no`
    will be `next_no`. Raises NoSealsLost, NotOurSeal, FolderFailed; NotConfigured without a folder."""
    signer, folder = Signer(settings.seal_root(), tenant), settings.seal_folder
    if folder is None:
        raise NotConfigured("set POINTBANK_SEAL_FOLDER to the folder that redeem exports seals to")
    async with writer_of(settings, tenant) as writer:
        asked = await find_lost(writer.pool, signer, tenant, folder, reason=reason)
        if dry_run:
            done = await would_adopt(writer.pool, asked)
        else:
            item = Item(asked, FromJob("seal"), str(uuid7()), actor)
            [outcome] = await _in_turn(lambda: writer.write([item], ON[AdoptSeals]))
            assert isinstance(outcome, Done), outcome
            done = msgspec.json.decode(outcome.body, type=Adoption)
    return {"dry_run": dry_run, **msgspec.structs.asdict(done)}


async def _in_turn(make: Callable[[], Awaitable[T]]) -> T:
    """After whoever is sealing at this moment."""
    while True:
        try:
            return await make()
        except SealBusy:
            await asyncio.sleep(BUSY_S)


def public_key(settings: Settings, tenant: str) -> str:
    """The Ed25519 key that the tenant's seals are signed with, in hexadecimal."""
    return Signer(settings.seal_root(), tenant).public_key.hex()


async def reconcile_tenant(
    settings: Settings,
    tenant: str,
    *,
    actor: str,
    dry_run: bool = False,
    sealing: SealProgress | None = None,
    progress: Progress = unheard,
) -> dict[str, Any]:
    """Seals what is new and reconciles all that was sealed since the last run: `wallets`, `days`, `postings`, `differences`, and
    of a dry run, which takes no seal, the first of what was `found`. `sealing` hears of the seal, `progress` of the rest.
    SealsForked where the folder has seals that the database lacks."""
    found: list[Any] = []
    async with writer_of(settings, tenant) as writer:

        async def step(command: ReconcilePage | DayCompared | SealCompared) -> Outcome:
            [outcome] = await writer.write(
                [Item(command, FromJob("reconcile"), str(uuid7()), actor)], ON[type(command)]
            )
            return outcome

        if dry_run:
            done, told = await would_reconcile(writer.pool, progress)
            found = [one._asdict() for one in told]
        else:
            await refuse_forked(writer.pool, tenant, settings.seal_folder)
            with suppress(SealBusy):  # what is being sealed at this moment is the next run's
                signer = Signer(settings.seal_root(), tenant)
                await take_seal(writer, signer, item=job_item(actor), progress=sealing)
            done = await reconcile(writer.pool, step, progress)
    if not dry_run:
        await ask_to_wake(settings, tenant)  # to tell of the seal, and to show what was found
    return {"dry_run": dry_run, **msgspec.structs.asdict(done), "found": found}
