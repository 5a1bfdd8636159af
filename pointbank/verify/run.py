"""Running the checks, and saying what they found."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console

from pointbank.verify.chains import Bar, StateBroken, UnknownWallet, bar, verify_chains
from pointbank.verify.database import UnknownTenant, auditor, is_suspended, snapshot
from pointbank.verify.ledger.trust import Trust
from pointbank.verify.messaging.streams import heads
from pointbank.verify.report import Check, Report
from pointbank.verify.settled import NotSettled, wait_until_settled
from pointbank.verify.show import show, watched
from pointbank.verify.till.journal import Journal, JournalUnreadable
from pointbank.verify.walks import check_all
from shared.config import NotConfigured, Settings

Say = Callable[[str], None]
Failed = Callable[[Exception], str | None]

COULD_NOT = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    RedisError,
    OSError,
    JournalUnreadable,
    NotConfigured,
    UnknownTenant,
    UnknownWallet,
    StateBroken,
)
"""What keeps a check from being made; it says nothing about the books."""
_SAY_IT = (JournalUnreadable, NotConfigured, UnknownTenant, UnknownWallet, StateBroken)
"""Those whose message is meant for people."""


async def verify_tenant(
    settings: Settings,
    tenant: str,
    *,
    journal: Path | None = None,
    wait_until_settled_s: float = 0,
    say: Say | None = None,
    progress: Say | None = None,
    trust: Trust | None = None,
) -> Report:
    """Checks everything that can be checked from outside; the report is true when nothing is broken."""
    report = Report(tenant)
    began = time.perf_counter()
    if wait_until_settled_s > 0:
        try:
            await wait_until_settled(settings, tenant, journal=journal, timeout_s=wait_until_settled_s)
        except NotSettled as late:
            if say is not None:
                say(str(late))
    redis = Redis.from_url(settings.redis_url)
    try:
        suspended = await is_suspended(settings, tenant)
        # Before the snapshot: whatever they tell of was committed by then.
        copies = await heads(redis, settings.cell, tenant)
        written = None if journal is None else Journal.now(journal, tenant)
        async with auditor(settings, tenant) as db, snapshot(db) as books:
            await check_all(
                report, books, redis, copies, journal=written, progress=progress or _quiet,
                trust=trust or Trust.of(settings, tenant), suspended=suspended,
            )  # fmt: skip
    finally:
        await redis.aclose()
    report.seconds = time.perf_counter() - began
    return report


async def verify(settings: Settings, tenant: str, *, journal: Path | None = None) -> list[Check]:
    """The checks of `verify_tenant`, in their order."""
    return (await verify_tenant(settings, tenant, journal=journal)).checks


def _quiet(_: str) -> None:
    """Nobody watches."""


def run_verify(
    settings: Settings,
    tenant: str,
    *,
    journal: Path | None,
    wait_until_settled_s: float,
    as_json: bool,
    trust: Trust | None = None,
    unchecked: bool = False,
    failed: Failed = lambda _: None,
) -> int:
    """For the command line: 0 when everything holds, 1 when something is broken, 2 when it could not be checked; `failed` has words
    for what kept it from that."""
    console = Console(stderr=True, highlight=False, markup=False)
    try:
        with watched(console) as progress:
            report = asyncio.run(
                verify_tenant(
                    settings,
                    tenant,
                    journal=journal,
                    wait_until_settled_s=wait_until_settled_s,
                    say=console.print,
                    progress=progress,
                    trust=trust,
                )
            )
    except COULD_NOT as error:
        return _could_not(console, tenant, error, failed(error))
    return _told(report, as_json=as_json, unchecked=unchecked)


def run_chains(
    settings: Settings,
    tenant: str,
    *,
    wallet: UUID | None,
    after: UUID | None,
    state: Path | None,
    trust: Trust,
    as_json: bool,
    unchecked: bool = False,
    failed: Failed = lambda _: None,
) -> int:
    """The same of the chains and seals alone, with a progress bar. Ctrl-C stops it; a state file lets it go on."""
    console = Console(stderr=True, highlight=False, markup=False)
    try:
        with bar(console) as progress:
            watch = None if progress is None else Bar(progress)
            report = asyncio.run(
                verify_chains(
                    settings, tenant, wallet=wallet, after=after, state=state, trust=trust, watch=watch
                )
            )
    except COULD_NOT as error:
        return _could_not(console, tenant, error, failed(error))
    return _told(report, as_json=as_json, unchecked=unchecked)


def _could_not(console: Console, tenant: str, error: Exception, said: str | None) -> int:
    if said is None:
        said = str(error) if isinstance(error, _SAY_IT) else f"{type(error).__name__}: {error}"
    console.print(f"pointbank: could not check {tenant}: {said}", soft_wrap=True)
    return 2


def _told(report: Report, *, as_json: bool, unchecked: bool) -> int:
    if as_json:
        sys.stdout.write(msgspec.json.encode(report.as_json()).decode() + "\n")
    else:
        show(report, Console(highlight=False, markup=False), unchecked=unchecked)
    return 0 if report else 1
