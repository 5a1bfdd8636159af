"""The job that tells what the accruals of each day came to, once the day is over: docs/decisions/0135 argues it.

It may run on several machines: the first to tell a day tells it, the others have nothing new. Killed, it goes on with the day
after the last that was told.
"""

from __future__ import annotations

from datetime import date, timedelta

import structlog

from services.earn.handlers import TellDay
from services.earn.store import days
from shared.runtime import TenantRuntime
from shared.tally import Tally, day_of, hours_of, told

log = structlog.get_logger(__name__)

EVERY_S = 600.0
MARGIN = timedelta(minutes=15)
"""So long after midnight a bill may still be committed whose accruals' ids are of the day before. What comes later is told with
the next day."""
_DAY = timedelta(days=1)


async def tell_accruals(runtime: TenantRuntime) -> None:
    """One turn."""
    await tell_days_over(runtime)


async def tell_days_over(runtime: TenantRuntime, *, today: date | None = None) -> list[date]:
    """Tells every day before `today` that was not told yet, the oldest first, and looks at the last one once more; gives the
    days that it counted. Without `today`: by PostgreSQL's clock, some time after midnight."""
    async with runtime.read() as db:
        today = today or (await days.clock(db) - MARGIN).date()
        last, first = await days.last_told(db), await days.first_accrual(db)
    if first is None or (last is not None and last + _DAY >= today):
        return []
    day = last or day_of(first)
    counted: list[date] = []
    while day < today:
        tallies = await _count(runtime, day)
        await runtime.do(TellDay(day, told(tallies)), job="tell-accruals")
        counted.append(day)
        day += _DAY
    if counted:
        log.info("days were told", tenant=runtime.code, first=str(counted[0]), last=str(counted[-1]))
    return counted


async def _count(runtime: TenantRuntime, day: date) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    for first, below in hours_of(day):
        async with runtime.read() as db:
            await days.count(db, tallies, first, below)
    return tallies
