"""Holding the ledger against what earn told of each day: docs/decisions/0135 argues it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date

from services.redeem.domain.accruals import DayCompared, ToldDay, compare
from services.redeem.store import accruals
from services.redeem.store.reconciliation import Found
from shared.db import Pool
from shared.messaging import Done, Outcome
from shared.tally import Tally, hours_of

Keep = Callable[[DayCompared], Awaitable[Outcome]]


async def next_day(pool: Pool, after: date | None) -> ToldDay | None:
    """The first day after this one that has to be compared and can be now."""
    async with pool.acquire() as db:
        told = await accruals.days_to_compare(db)
    return next((day for day in told if after is None or day.day > after), None)


async def compare_day(pool: Pool, day: ToldDay, keep: Keep | None = None) -> list[Found]:
    """Compares a day, an hour at a time; gives what does not agree.

    `keep` writes what came of it; without it nothing is written. May run beside others, and be killed: a day that was not
    kept is compared again.
    """
    posted: dict[str, Tally] = {}
    for first, below in hours_of(day.day):
        async with pool.acquire() as db:
            await accruals.count(db, posted, first, below)
    done = DayCompared(day.day, day.sequence, compare(day.programmes, posted))
    if keep is not None:
        outcome = await keep(done)
        assert isinstance(outcome, Done), outcome
    return [accruals.found(done, one) for one in done.apart]
