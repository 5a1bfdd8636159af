"""The job that settles waiting bills and acts, reports those that wait too long, and keeps the clock of their deadline; and that
gives for referrals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import count

import structlog

from services.earn.handlers import (
    AskActAgain,
    GiveReferral,
    ReportActUnclaimed,
    ReportUnclaimed,
    ReviewReferral,
    Settle,
    SettleAct,
    Tick,
    settle_wake,
)
from services.earn.jobs.asking import asked_long_ago
from services.earn.store import acts, referrals, waiting
from shared.programme.validation import UnreadVersion
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

POLL_S = 2.0
SWEEP_EVERY = 15  # polls: the second guard looks at every bill that waits
PAUSE_S = 0.05
HEARD = "members"  # all that bills wait for is told on this stream
LEFT_S = 5.0
"""What only a later release can read is passed over for so long, and until there is nothing else: a page may be full of it."""

Left = set[object]
"""Commands that were left to a later release."""


async def settle_waiting(runtime: TenantRuntime) -> None:
    """Settles what is ready until nothing is left, then waits for something to be learned, or a moment."""
    wake = settle_wake(runtime.cache)
    left: Left = set()
    since = time.monotonic()
    for turn in count():
        wake.clear()
        async with runtime.read() as db:
            bills, others, due = await waiting.count_waiting(db)
        runtime.metrics.bills_waiting(runtime.code, bills)
        if due:
            await _refer(runtime, left)
        worked = bills + others + due > 0 and await _turn(runtime, left, sweep=turn % SWEEP_EVERY == 0)
        if not worked and time.monotonic() - since >= LEFT_S:
            left.clear()
            since = time.monotonic()
        # Another process may hold what is left: ask again, but not in a spin.
        try:
            await asyncio.wait_for(wake.wait(), PAUSE_S if worked else POLL_S)
        except TimeoutError:
            continue


async def _turn(runtime: TenantRuntime, left: Left, *, sweep: bool) -> bool:
    await runtime.do(Tick(await caught_up(runtime)), job="settle")
    async with runtime.read() as db:
        ready = await waiting.ready_bills(
            db, besides=[one.bill_id for one in left if isinstance(one, Settle)]
        )
        if sweep and (overlooked := await waiting.overlooked_bills(db)):
            log.warning("bills waited for what is known", tenant=runtime.code, bills=len(overlooked))
            ready += overlooked
        deadline_ms = runtime.settings.awaited_deadline_s * 1000
        overdue = await waiting.overdue_bills(db, deadline_ms=deadline_ms)
        ready_acts = await acts.ready_acts(
            db, sweep=sweep, besides=[one.act_id for one in left if isinstance(one, SettleAct)]
        )
        overdue_acts = await acts.overdue_acts(db, deadline_ms=deadline_ms)
    settled = await _each(runtime, left, [Settle(one) for one in ready])
    reported = await _each(runtime, left, [ReportUnclaimed(one) for one in overdue])
    settled_acts = await _each(runtime, left, [SettleAct(one) for one in ready_acts])
    reported_acts = await _each(runtime, left, [ReportActUnclaimed(one) for one in overdue_acts])
    return settled or reported or settled_acts or reported_acts


async def _refer(runtime: TenantRuntime, left: Left) -> None:
    """Gives for referrals, looks at those whose bill was refunded, and asks the bank again."""
    async with runtime.read() as db:
        before = await asked_long_ago(runtime, db)
        due = await referrals.due(db)
        reviews = await referrals.to_review(db)
        overdue = await referrals.overdue_reversals(db, asked_before=before)
    await _each(
        runtime,
        left,
        [
            *[GiveReferral(*key) for key in due],
            *[ReviewReferral(*key) for key in reviews],
            *[AskActAgain(one, before) for one in overdue],
        ],
    )


async def _each(runtime: TenantRuntime, left: Left, commands: Sequence[object]) -> bool:
    """Does these, but for what was left before; gives whether there was any. What needs a version that only a later release can
    read is left to that one, and keeps nothing else waiting (docs/decisions/0337)."""
    asked = [one for one in commands if one not in left]
    done = await asyncio.gather(*[runtime.do(one, job="settle") for one in asked], return_exceptions=True)
    for one, outcome in zip(asked, done, strict=True):
        if isinstance(outcome, UnreadVersion):
            left.add(one)
        elif isinstance(outcome, BaseException):
            raise outcome
    return bool(asked)


async def caught_up(runtime: TenantRuntime) -> bool:
    """Whether earn has applied all that members has published; the deadline of a waiting bill runs only then."""
    published = await runtime.redis.hget(runtime.keys.head(HEARD), "n")
    async with runtime.read() as db:
        applied = await waiting.applied_through(db, HEARD)
    return published is not None and applied >= int(published)
