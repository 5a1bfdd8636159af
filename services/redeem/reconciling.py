"""The job that reconciles: every wallet that was sealed since the last run, against its lines and lots; every gift card, against
its lines; every seal's postings, against the events as published; and every day that earn told since, against the ledger.

Seals name each wallet and card whose head changed, all of them and no others: so a run touches what changed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress

import msgspec
import structlog

from services.redeem.counting_days import compare_days
from services.redeem.domain.accruals import DayCompared
from services.redeem.domain.reconciliation import LEAVES, Reconciled, ReconcilePage, SealCompared
from services.redeem.domain.seal import Signer
from services.redeem.sealing import SealBusy, rehearse_seal
from services.redeem.store import reconciliation
from services.redeem.store.reconciliation import Found
from services.redeem.telling_compared import compare_seals
from shared.db import Pool
from shared.messaging import Done, Outcome
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

MOST_TOLD = 100
Step = Callable[[ReconcilePage | DayCompared | SealCompared], Awaitable[Outcome]]
"""Writes one page, or what came of one day or seal."""
Progress = Callable[[int], None]
"""Told how many wallets were compared so far."""

_decode = msgspec.json.Decoder(Reconciled).decode


class Total(msgspec.Struct, frozen=True):
    """What was compared, and how much of it does not agree (a wallet in three ways at most)."""

    wallets: int = 0
    differences: int = 0
    days: int = 0
    """Whose accruals were held against what earn told of them."""
    postings: int = 0
    """That were held against their events."""


async def reconcile(pool: Pool, step: Step, progress: Progress | None = None) -> Total:
    """Compares all that was sealed since the last run, what another process left of its own, and the days that were told; may
    run beside others."""
    wallets = await _reconcile_wallets(step, progress)
    postings, untold = await compare_seals(pool.acquire, step)
    days, apart = await compare_days(pool, step)
    return Total(wallets.wallets, wallets.differences + len(untold) + len(apart), days, postings)


async def _reconcile_wallets(step: Step, progress: Progress | None) -> Total:
    done, running = Total(), Reconciled(0, 0, 0, 0, 0, False)
    while True:
        outcome = await step(ReconcilePage())
        assert isinstance(outcome, Done), outcome
        said = _decode(outcome.body)
        if not said.no:
            return done
        # Of a run that was under way already, what others did of it is counted too.
        same = said.no == running.no
        done = Total(
            done.wallets + said.wallets - (running.wallets if same else 0),
            done.differences + said.differences - (running.differences if same else 0),
        )
        running = said
        if progress is not None:
            progress(done.wallets)


async def would_reconcile(
    pool: Pool, signer: Signer, progress: Progress | None = None
) -> tuple[Total, list[Found]]:
    """What a run would compare and find now, and the first of it. As a run does, it begins with a seal over what is new: in one
    transaction, which is rolled back."""
    told: list[Found] = []
    async with pool.acquire() as db:
        rehearsal = db.transaction(isolation="repeatable_read")
        await rehearsal.start()
        try:
            with suppress(SealBusy):  # what is being sealed at this moment is the next run's
                await rehearse_seal(db, signer)
            run = await reconciliation.next_run(db)
            more = run is not None
            while run is not None and more:
                page = await reconciliation.next_page(db, run, most=LEAVES)
                found = await reconciliation.compare(db, page)
                run, more = reconciliation.advanced(run, page, found), page.more
                told += found[: MOST_TOLD - len(told)]
                if progress is not None:
                    progress(run.wallets)
            postings, untold = await compare_seals(lambda: nullcontext(db))
        finally:
            await rehearsal.rollback()
    days, apart = await compare_days(pool)
    wallets, differences = (0, 0) if run is None else (run.wallets, run.differences)
    total = Total(wallets, differences + len(untold) + len(apart), days, postings)
    return total, [*told, *untold, *apart][:MOST_TOLD]


async def run(runtime: TenantRuntime) -> Total:
    """Reconciles a tenant in its service's process, and shows what is open."""
    done = await reconcile(runtime.pool, lambda command: runtime.do(command, job="reconcile"))
    async with runtime.read() as db:
        runtime.metrics.differences(runtime.code, await reconciliation.open_by_kind(db))
    if done.wallets or done.days or done.postings:
        log.info("reconciled", tenant=runtime.code, **msgspec.structs.asdict(done))
    return done


async def job(runtime: TenantRuntime) -> None:
    """One night's run."""
    await run(runtime)
