"""The jobs of benefits: those that expired unused are written off, those that a threshold brings are issued to who has reached it.

They keep nothing of their own, and decide each benefit once more under its lock: they may run twice, on two machines, or be killed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from uuid import UUID

import msgspec

from services.redeem.domain.giving import LapseBenefits, Lapsed
from services.redeem.domain.thresholds import Issued, IssueReached
from services.redeem.store import giving, thresholds
from shared.clock import Clock
from shared.db import Connection
from shared.messaging import Done, Outcome
from shared.runtime import TenantRuntime

JOB = "benefits"
LAPSE_EVERY_S = 300.0
ISSUE_EVERY_S = 3600.0
LEARN_EVERY_S = 30.0
"""So long may a process not know of a threshold that another one was told of; the sweep issues what it missed."""
PAGE = 500


class Bank(Protocol):
    """A tenant's bank as these jobs see it: the service's own runtime, or the command line's."""

    cache: dict[Any, Any]
    clock: Clock

    def read(self) -> AbstractAsyncContextManager[Connection]: ...
    async def do(self, command: Any, *, job: str) -> Outcome: ...


Progress = Callable[[int], None]


class OfReward(msgspec.Struct):
    """What a run does of a reward: benefits that were issued, and those written off, with what these would have cost."""

    programme: str
    reward: str
    issued: int = 0
    written_off: int = 0
    written_off_minor: int = 0


class Run(msgspec.Struct):
    """What a run did, or a dry run would, in all and by reward."""

    dry_run: bool
    issued: int = 0
    written_off: int = 0
    rewards: list[OfReward] = []

    def add(self, more: OfReward) -> None:
        """What a step came to of one reward."""
        if not more.issued and not more.written_off:
            return
        self.issued += more.issued
        self.written_off += more.written_off
        for one in self.rewards:
            if (one.programme, one.reward) == (more.programme, more.reward):
                one.issued += more.issued
                one.written_off += more.written_off
                one.written_off_minor += more.written_off_minor
                return
        self.rewards.append(more)


class DuePlace(msgspec.Struct, frozen=True):
    """How far a run has come: reward by reward along the wallets that have reached its threshold, then along what expired unused.
    `given`: how many of this reward a dry run found already, for its stock bounds them."""

    phase: Literal["issue", "lapse"] = "issue"
    programme: str = ""
    reward: str = ""
    after: UUID = UUID(int=0)
    at: datetime = datetime.min.replace(tzinfo=UTC)
    given: int = 0


BEGIN, LAPSING = DuePlace(), DuePlace("lapse")


async def run(bank: Bank, *, dry_run: bool, step: int = PAGE, progress: Progress | None = None) -> Run:
    """Both, or with `dry_run` what both would do if they ran now and alone; then nothing is written."""
    total = Run(dry_run)
    await _walk(bank, total, BEGIN, step, progress)
    return total


async def lapse(bank: Bank, *, step: int = PAGE) -> int:
    """Writes off all benefits that expired unused, step by step; gives how many it did itself."""
    total = Run(False)
    await _walk(bank, total, LAPSING, step, None)
    return total.written_off


async def issue(bank: Bank, *, step: int = PAGE) -> int:
    """Issues to all who have reached a threshold and were not issued its reward; gives how many it did itself."""
    total, place = Run(False), BEGIN
    while place.phase == "issue":
        place = await _issue_step(bank, total, place, step)
    return total.issued


async def _walk(bank: Bank, total: Run, begin: DuePlace, most: int, progress: Progress | None) -> None:
    place: DuePlace | None = begin
    while place is not None:
        place = await run_step(bank, total, place, most=most)
        if progress is not None:
            progress(total.issued + total.written_off)


async def run_step(bank: Bank, total: Run, place: DuePlace, *, most: int = PAGE) -> DuePlace | None:
    """Looks at the next wallets or benefits, `most` at most, and adds what came of them to the total, or would; gives where to go
    on, None after the last."""
    if place.phase == "issue":
        return await _issue_step(bank, total, place, most)
    if total.dry_run:
        return await _would_lapse_step(bank, total, place, most)
    outcome = await bank.do(LapseBenefits(most), job=JOB)
    assert isinstance(outcome, Done), outcome
    said = msgspec.json.decode(outcome.body, type=Lapsed)
    for one in said.rewards:
        total.add(OfReward(one.programme, one.reward, 0, one.benefits, one.cost_minor))
    return LAPSING if said.more else None


async def _issue_step(bank: Bank, total: Run, place: DuePlace, most: int) -> DuePlace:
    async with bank.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
        known = await thresholds.learn(db, bank.cache)
        here = (place.programme, place.reward)
        left = sorted(
            (programme, *one)
            for programme, ones in known.items()
            for one in ones
            if (programme, one[0]) >= here
        )
        if not left:
            return LAPSING
        programme, reward, threshold = left[0]
        if (programme, reward) != here:
            place = DuePlace("issue", programme, reward)
        due = await thresholds.reached_page(db, programme, reward, threshold, after=place.after, most=most)
        would = 0
        if total.dry_run and due:
            would = await thresholds.would_issue(
                db, (programme, reward), due, bank.cache, bank.clock(), given=place.given
            )
    if not total.dry_run and due:
        outcome = await bank.do(IssueReached(programme, reward, tuple(due)), job=JOB)
        assert isinstance(outcome, Done), outcome
        would = msgspec.json.decode(outcome.body, type=Issued).benefits
    total.add(OfReward(programme, reward, would))
    if len(due) == most:
        return DuePlace("issue", programme, reward, due[-1], given=place.given + would)
    return DuePlace("issue", *left[1][:2]) if len(left) > 1 else LAPSING


async def _would_lapse_step(bank: Bank, total: Run, place: DuePlace, most: int) -> DuePlace | None:
    async with bank.read() as db:
        page = await giving.lapsing_page(db, bank.clock(), after=(place.at, place.after), most=most)
    for one in page:
        total.add(OfReward(one.programme, one.reward, 0, 1, one.cost_minor))
    return DuePlace("lapse", after=page[-1].benefit_id, at=page[-1].expires_at) if len(page) == most else None


async def lapse_job(runtime: TenantRuntime) -> None:
    """One turn."""
    await lapse(runtime)


async def issue_job(runtime: TenantRuntime) -> None:
    """One turn."""
    await issue(runtime)


async def learn_job(runtime: TenantRuntime) -> None:
    """What crediting looks at."""
    async with runtime.read() as db:
        await thresholds.learn(db, runtime.cache)
