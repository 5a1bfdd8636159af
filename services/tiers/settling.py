"""The job that settles: what was heard before its programme, wallets that a new version has not judged, standings that are over,
and what a day brings."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date, datetime
from typing import Any

from services.tiers import ending, segments, store
from services.tiers.domain import Programme
from services.tiers.handlers import EndStandings, JudgeDay, Settle, settle_wake
from shared.db import Connection
from shared.programme.days import day_of, end_of_day
from shared.runtime import TenantRuntime

POLL_S = 5.0
PAUSE_S = 0.05


async def settle_all(runtime: TenantRuntime) -> None:
    """Settles in short transactions until nothing is left, then waits for a programme to be learned, or a moment."""
    wake = settle_wake(runtime.cache)
    while True:
        wake.clear()
        async with runtime.read() as db:
            unsettled = await _unsettled(db, runtime.cache)
            ends = await ends_due(db, runtime.cache, runtime.clock())
            due = await days_due(db, runtime.cache, runtime.clock())
        for programme, version in unsettled:
            await runtime.do(Settle(programme, version), job="settle")
        for command in (*ends, *due):
            await runtime.do(command, job="settle")
        # Another process may hold what is left: ask again, but not in a spin.
        pause = PAUSE_S if unsettled or ends or due else POLL_S
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await wake.wait()


async def days_due(db: Connection, cache: dict[Any, Any], now: datetime) -> list[JudgeDay]:
    """The programmes with conditions in whose ladders not everybody has been judged by the day that it is there by now."""
    return [
        JudgeDay(code, version, day)
        for code, version, judged_day, day, _ in await _days(db, cache, now)
        if judged_day is None or judged_day < day
    ]


async def ends_due(db: Connection, cache: dict[Any, Any], now: datetime) -> list[EndStandings]:
    """The programmes with ladders in which a standing is over."""
    versions, ends = await _ends(db, cache)
    return [EndStandings(code, versions[code]) for code, until in ends.items() if until <= now]


async def next_due(db: Connection, now: datetime) -> datetime | None:
    """When the next standing ends, or the next day of a programme with conditions begins; `now` where something is to be settled:
    who rests misses all of it."""
    cache: dict[Any, Any] = {}
    _, ends = await _ends(db, cache)
    if await _unsettled(db, cache) or await days_due(db, cache, now):
        return now
    return min((*ends.values(), *(begins for *_, begins in await _days(db, cache, now))), default=None)


async def _unsettled(db: Connection, cache: dict[Any, Any]) -> list[tuple[str, int]]:
    """Programmes with something to settle, each at its latest version, where this release can read that."""
    return [
        (code, version)
        for code, version in await store.unsettled(db)
        if await store.known_if_read(db, cache, code, version) is not None
    ]


async def _ends(db: Connection, cache: dict[Any, Any]) -> tuple[dict[str, int], dict[str, datetime]]:
    """The latest versions of programmes with ladders, and when the first of their standings ends."""
    versions = {
        programme.code: programme.version for programme, _ in await _latest(db, cache) if programme.ladder
    }
    return versions, await ending.first_ends(db, sorted(versions))


async def _days(db: Connection, cache: dict[Any, Any], now: datetime) -> list[Any]:
    """(code, version, the day that was judged, the day that it is there, when the next begins) of programmes with conditions."""
    found = []
    for programme, judged_day in await _latest(db, cache):
        if programme.conditional:
            day = day_of(now, programme.zone)
            begins = end_of_day(day, programme.zone)
            found.append((programme.code, programme.version, judged_day, day, begins))
    return found


async def _latest(db: Connection, cache: dict[Any, Any]) -> list[tuple[Programme, date | None]]:
    """Each programme at its latest version that this release can read, and the last day by which everybody was judged."""
    found = []
    for code, version, judged_day in await segments.latest(db):
        if (known := await store.known_if_read(db, cache, code, version)) is not None:
            found.append((known.programme, judged_day))
    return found
