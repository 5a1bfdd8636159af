"""The job that reconciles: every wallet that was sealed since the last run, against its lines and lots; every gift card, against
its lines; every seal's postings, against the events as published; and every day that earn told since, against the ledger.

Seals name each wallet and card whose head changed, all of them and no others: so a run touches what changed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from datetime import date
from typing import Literal
from uuid import UUID

import msgspec
import structlog

from services.redeem.counting_days import compare_day, next_day
from services.redeem.domain.accruals import DayCompared
from services.redeem.domain.reconciliation import LEAVES, Reconciled, ReconcilePage, SealCompared
from services.redeem.domain.seal import Signer
from services.redeem.sealing import Progress as SealProgress
from services.redeem.sealing import SealBusy, rehearse_seal
from services.redeem.store import reconciliation
from services.redeem.store.reconciliation import Found
from services.redeem.telling_compared import compare_seal
from shared.db import Connection, Pool
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
    """How far a reconciliation has come. Of `wallets`: the run that was gone on with last, and what it had come to; of `events` the
    last seal, of `days` the last day that was compared."""

    phase: Literal["wallets", "events", "days"] = "wallets"
    run: reconciliation.Run | None = None
    last_wallet: UUID | None = None
    last_card: UUID | None = None
    """Of a dry run: the wallet or gift card that it met last, for the seal that it is under is taken anew by the next step."""
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
        place = ReconcilePlace("wallets", run)
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
    total, _, following = await _reconcile_days(pool, place.day, enough, step, total, progress)
    return total, following


async def _reconcile_days(
    pool: Pool, after: date | None, enough: Enough, keep: Step | None, total: Total, progress: Progress
) -> tuple[Total, list[Found], ReconcilePlace | None]:
    """The days after this one, added to the total; the first of what does not agree of them; where to go on."""
    apart = list[Found]()
    while (day := await next_day(pool, after)) is not None:
        found = await compare_day(pool, day, keep)
        total += Total(days=1, differences=len(found))
        apart += found[: MOST_TOLD - len(apart)]
        after = day.day
        progress(total)
        if enough():
            return total, apart, ReconcilePlace("days", day=after)
    return total, apart, None


async def would_reconcile(
    pool: Pool, signer: Signer, progress: Progress = unheard, sealing: SealProgress | None = None
) -> tuple[Total, list[Found]]:
    """What a run would compare and find now, and the first of it. `sealing` hears of the seal that it would begin with."""
    total, told, _ = await would_reconcile_on(pool, signer, BEGIN, to_the_end, progress, sealing)
    return total, told


async def would_reconcile_on(
    pool: Pool,
    signer: Signer,
    place: ReconcilePlace,
    enough: Enough,
    progress: Progress = unheard,
    sealing: SealProgress | None = None,
) -> tuple[Total, list[Found], ReconcilePlace | None]:
    """A portion of it, from a place on, and where to go on. As a run does, it begins with a seal over what is new: in one
    transaction, which is rolled back."""
    total, told = Total(), list[Found]()
    if place.phase != "days":
        async with pool.acquire() as db:
            rehearsal = db.transaction(isolation="repeatable_read")
            await rehearsal.start()
            try:
                with suppress(SealBusy):  # what is being sealed at this moment is the next run's
                    await rehearse_seal(db, signer, sealing)
                total, told, place = await _would_reconcile_sealed(db, place, enough, progress)
            finally:
                await rehearsal.rollback()
        if place.phase != "days":
            return total, told, place
    total, apart, following = await _reconcile_days(pool, place.day, enough, None, total, progress)
    return total, [*told, *apart][:MOST_TOLD], following


async def _would_reconcile_sealed(
    db: Connection, place: ReconcilePlace, enough: Enough, progress: Progress
) -> tuple[Total, list[Found], ReconcilePlace]:
    """Wallets, gift cards and events: all that is under a seal."""
    total, told = Total(), list[Found]()
    if place.phase == "wallets":
        run, more = await _would_go_on(db, place), True
        while run is not None and more:
            page = await reconciliation.next_page(db, run, most=LEAVES)
            found = await reconciliation.compare(db, page)
            run, more = reconciliation.advanced(run, page, found), page.more
            total += Total(len(page.wallet_ids), len(found))
            told += found[: MOST_TOLD - len(told)]
            progress(total)
            if more and enough():
                return total, told, ReconcilePlace("wallets", run, page.last_wallet, page.last_card)
        place = ReconcilePlace("events")
    while (compared := await compare_seal(lambda: nullcontext(db), place.seal)) is not None:
        done, untold = compared
        total += Total(differences=len(untold), postings=done.postings)
        told += untold[: MOST_TOLD - len(told)]
        place = ReconcilePlace("events", seal=done.no)
        progress(total)
        if enough():
            return total, told, place
    return total, told, ReconcilePlace("days")


async def _would_go_on(db: Connection, place: ReconcilePlace) -> reconciliation.Run | None:
    """The run that a dry run goes on with. A seal that was rehearsed is another one now, or was taken meanwhile: the wallet that
    was met last has another position in it."""
    if place.run is None:
        return await reconciliation.next_run(db)
    at = await reconciliation.position_of(db, place.run.at_seal, place.last_wallet, place.last_card)
    return place.run._replace(at_position=at)


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
