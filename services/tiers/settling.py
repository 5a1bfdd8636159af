"""The job that settles: what was heard before its programme, wallets that a new version has not judged, and what a day brings."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, time, timedelta
from typing import Any

from services.tiers import segments, store
from services.tiers.handlers import JudgeDay, Settle, settle_wake
from shared.db import Connection
from shared.runtime import TenantRuntime

POLL_S = 5.0
PAUSE_S = 0.05


async def settle_all(runtime: TenantRuntime) -> None:
    """Settles in short transactions until nothing is left, then waits for a programme to be learned, or a moment."""
    wake = settle_wake(runtime.cache)
    while True:
        wake.clear()
        async with runtime.read() as db:
            unsettled = await store.unsettled(db)
            due = await days_due(db, runtime.cache, runtime.clock())
        for programme, version in unsettled:
            await runtime.do(Settle(programme, version), job="settle")
        for judge in due:
            await runtime.do(judge, job="settle")
        # Another process may hold what is left: ask again, but not in a spin.
        pause = PAUSE_S if unsettled or due else POLL_S
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


async def next_due(db: Connection, now: datetime) -> datetime | None:
    """When the next day of a programme with conditions begins; `now` where something is to be settled: who rests misses both."""
    if await store.unsettled(db) or await days_due(db, {}, now):
        return now
    return min((begins for *_, begins in await _days(db, {}, now)), default=None)


async def _days(db: Connection, cache: dict[Any, Any], now: datetime) -> list[Any]:
    """(code, version, the day that was judged, the day that it is there, when the next begins) of programmes with conditions."""
    found = []
    for code, version, judged_day in await segments.latest(db):
        key = (store.Known, code, version)
        if key not in cache:
            cache[key] = await store.known_programme(db, code, version)
        programme = cache[key].programme
        if programme.conditional:
            day = now.astimezone(programme.zone).date()
            begins = datetime.combine(day + timedelta(days=1), time.min, programme.zone)
            found.append((code, version, judged_day, day, begins))
    return found
