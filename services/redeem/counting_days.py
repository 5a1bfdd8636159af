"""Holding the ledger against what earn told of each day: docs/decisions/0135 argues it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.redeem.domain.accruals import DayCompared, compare
from services.redeem.store import accruals
from services.redeem.store.reconciliation import Found
from shared.db import Pool
from shared.messaging import Done, Outcome
from shared.tally import Tally, hours_of

Keep = Callable[[DayCompared], Awaitable[Outcome]]
Progress = Callable[[int], None]
"""Told how many days were compared so far."""


async def compare_days(
    pool: Pool, keep: Keep | None = None, progress: Progress | None = None
) -> tuple[int, list[Found]]:
    """Compares every day that has to be and can be now, an hour at a time; gives how many days, and what does not agree.

    `keep` writes what came of a day; without it nothing is written. May run beside others, and be killed: a day that was not
    kept is compared again.
    """
    async with pool.acquire() as db:
        told = await accruals.days_to_compare(db)
    apart: list[Found] = []
    for n, day in enumerate(told, start=1):
        posted: dict[str, Tally] = {}
        for first, below in hours_of(day.day):
            async with pool.acquire() as db:
                await accruals.count(db, posted, first, below)
        done = DayCompared(day.day, day.sequence, compare(day.programmes, posted))
        apart += [accruals.found(done, one) for one in done.apart]
        if keep is not None:
            outcome = await keep(done)
            assert isinstance(outcome, Done), outcome
        if progress is not None:
            progress(n)
    return len(told), apart
