"""The job that reconciles: every wallet that was sealed since the last run, against its lines and lots; every gift card, against
its lines; every seal's postings, against the events as published; and every day that earn told since, against the ledger.

Seals name each wallet and card whose head changed, all of them and no others: so a run touches what changed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Literal

import msgspec
import structlog

from services.redeem.domain.accruals import DayCompared
from services.redeem.domain.reconciliation import Reconciled, ReconcilePage, SealCompared
from services.redeem.jobs.counting_days import compare_day, next_day
from services.redeem.jobs.sealing_on_call import SealRun
from services.redeem.jobs.telling_compared import compare_seal
from services.redeem.store import reconciliation
from services.redeem.store.reconciliation import Found
from shared.db import Pool
from shared.messaging import Done, Outcome
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

MOST_TOLD = 100
SHOWN_EVERY_S = 15.0
"""As often as Prometheus asks."""
Step = Callable[[ReconcilePage | DayCompared | SealCompared], Awaitable[Outcome]]
"""Writes one page, or what came of one day or seal."""
_decode = msgspec.json.Decoder(Reconciled).decode


class Total(msgspec.Struct, frozen=True):
    """What was compared, and how much of it does not agree (a wallet in three ways at most)."""

    wallets: int = 0
    differences: int = 0
    days: int = 0
    """Whose accruals were held against what earn told of them."""
    postings: int = 0
    """That were held against their events."""

    def __add__(self, other: Total) -> Total:
        return Total(
            self.wallets + other.wallets,
            self.differences + other.differences,
            self.days + other.days,
            self.postings + other.postings,
        )


Progress = Callable[[Total], None]
"""Told what was compared so far, after each step."""


def unheard(_: Total) -> None:
    """Nobody wants to know."""


class ReconcilePlace(msgspec.Struct, frozen=True):
    """How far a reconciliation has come. Of `sealing`: the seal that a call waits for first; of `wallets`: the run that was gone on
    with last, and what it had come to; of `events` the last seal, of `days` the last day that was compared."""

    phase: Literal["sealing", "wallets", "events", "days"] = "wallets"
    sealing: SealRun | None = None
    run: reconciliation.Run | None = None
    seal: int = 0
    day: date | None = None


BEGIN = ReconcilePlace()
Enough = Callable[[], bool]
"""Whether to stop after this step."""


def to_the_end() -> bool:
    """Never enough."""
    return False


async def reconcile(pool: Pool, step: Step, progress: Progress = unheard) -> Total:
    """Compares all that was sealed since the last run, what another process left of its own, and the days that were told; may
    run beside others."""
    total, _ = await reconcile_on(pool, step, BEGIN, to_the_end, progress)
    return total


async def reconcile_on(
    pool: Pool, step: Step, place: ReconcilePlace, enough: Enough, progress: Progress = unheard
) -> tuple[Total, ReconcilePlace | None]:
    """A portion of it, from a place on, and where to go on; None: it is over. At least one step is made."""
    total = Total()
    while place.phase == "wallets":
        outcome = await step(ReconcilePage())
        assert isinstance(outcome, Done), outcome
        said = _decode(outcome.body)
        if not said.no:
            place = ReconcilePlace("events")
            break
        # Of a run that was under way already, what others did of it is counted too.
        before = place.run if place.run is not None and place.run.no == said.no else None
        total += Total(
            said.wallets - (before.wallets if before is not None else 0),
            said.differences - (before.differences if before is not None else 0),
        )
        run = reconciliation.Run(said.no, said.from_seal, said.to_seal, 0, 0, said.wallets, said.differences)
        place = ReconcilePlace("wallets", run=run)
        progress(total)
        if enough():
            return total, place
    while place.phase == "events":
        compared = await compare_seal(pool.acquire, place.seal, step)
        if compared is None:
            place = ReconcilePlace("days")
            break
        total += Total(differences=len(compared[1]), postings=compared[0].postings)
        place = ReconcilePlace("events", seal=compared[0].no)
        progress(total)
        if enough():
            return total, place
    total, _, day = await reconcile_days(pool, place.day, enough, step, total, progress)
    return total, None if day is None else ReconcilePlace("days", day=day)


async def reconcile_days(
    pool: Pool, after: date | None, enough: Enough, keep: Step | None, total: Total, progress: Progress
) -> tuple[Total, list[Found], date | None]:
    """The days after this one, added to the total; the first of what does not agree of them; the day to go on after."""
    apart = list[Found]()
    while (day := await next_day(pool, after)) is not None:
        found = await compare_day(pool, day, keep)
        total += Total(days=1, differences=len(found))
        apart += found[: MOST_TOLD - len(apart)]
        after = day.day
        progress(total)
        if enough():
            return total, apart, after
    return total, apart, None


async def run(runtime: TenantRuntime) -> Total:
    """Reconciles a tenant in its service's process, and shows what is open."""
    done, _ = await portion(runtime, BEGIN, to_the_end)
    return done


async def portion(
    runtime: TenantRuntime, place: ReconcilePlace, enough: Enough
) -> tuple[Total, ReconcilePlace | None]:
    """A portion of it: what was compared, and where to go on."""
    done, following = await reconcile_on(
        runtime.pool, lambda command: runtime.do(command, job="reconcile"), place, enough
    )
    await show_open(runtime)
    if done.wallets or done.days or done.postings:
        log.info("reconciled", tenant=runtime.code, **msgspec.structs.asdict(done))
    return done, following


async def job(runtime: TenantRuntime) -> None:
    """One night's run."""
    await run(runtime)


async def show_open(runtime: TenantRuntime) -> None:
    """Shows what is open, whoever found it and whoever closed it: a command, another process, a person."""
    async with runtime.read() as db:
        runtime.metrics.differences(runtime.code, await reconciliation.open_by_kind(db))
