"""The jobs of benefits: those that expired unused are written off, those that a threshold brings are issued to who has reached it.

They keep nothing of their own, and decide each benefit once more under its lock: they may run twice, on two machines, or be killed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from uuid import UUID

import msgspec

from services.redeem.domain.giving import LapseBenefits, Lapsed
from services.redeem.domain.thresholds import Issued, IssueReached
from services.redeem.store import giving, rewards, thresholds
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
    """What a run did, or a dry run would: by reward, of a real run those issued; written off are counted together."""

    dry_run: bool
    issued: int = 0
    written_off: int = 0
    rewards: list[OfReward] = []


async def lapse(bank: Bank, *, step: int = PAGE, progress: Progress | None = None) -> int:
    """Writes off all benefits that expired unused, step by step; gives how many it did itself."""
    total, more = 0, True
    while more:
        outcome = await bank.do(LapseBenefits(step), job=JOB)
        assert isinstance(outcome, Done), outcome
        said = msgspec.json.decode(outcome.body, type=Lapsed)
        total, more = total + said.benefits, said.more
        if progress is not None:
            progress(total)
    return total


async def issue(
    bank: Bank, *, step: int = PAGE, progress: Progress | None = None
) -> dict[tuple[str, str], int]:
    """Issues to all who have reached a threshold and were not issued its reward; gives how many of each it did itself."""
    async with bank.read() as db:
        known = await thresholds.learn(db, bank.cache)
    found: dict[tuple[str, str], int] = {}
    for programme, ones in known.items():
        for reward, threshold in ones:
            after: UUID | None = UUID(int=0)
            while after is not None:
                async with bank.read() as db:
                    due = await thresholds.reached(db, programme, reward, threshold, after=after, most=step)
                after = due[-1] if len(due) == step else None
                if not due:
                    break
                outcome = await bank.do(IssueReached(programme, reward, tuple(due)), job=JOB)
                assert isinstance(outcome, Done), outcome
                name = programme, reward
                found[name] = found.get(name, 0) + msgspec.json.decode(outcome.body, type=Issued).benefits
                if progress is not None:
                    progress(sum(found.values()))
    return found


async def run(bank: Bank, *, dry_run: bool, progress: Progress | None = None) -> Run:
    """Both, or with `dry_run` what both would do if they ran now and alone; then nothing is written."""
    if dry_run:
        return await _would(bank)
    issued = await issue(bank, progress=progress)
    written_off = await lapse(bank, progress=progress)
    of = [OfReward(*name, issued=count) for name, count in sorted(issued.items()) if count]
    return Run(False, sum(issued.values()), written_off, of)


async def _would(bank: Bank) -> Run:
    found: dict[tuple[str, str], OfReward] = {}

    def of(programme: str, reward: str) -> OfReward:
        return found.setdefault((programme, reward), OfReward(programme, reward))

    async with bank.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
        for programme, ones in (await thresholds.learn(db, {})).items():
            for reward, threshold in ones:
                stock = (await rewards.named(db, [(programme, reward)]))[programme, reward]
                due = await thresholds.due(db, programme, reward, threshold, stock, bank.cache, bank.clock())
                if due:
                    of(programme, reward).issued = due
        for one in await giving.lapsing_by_reward(db, bank.clock()):
            made = of(one.programme, one.reward)
            made.written_off, made.written_off_minor = one.benefits, one.cost_minor
    by_name = [found[name] for name in sorted(found)]
    return Run(True, sum(one.issued for one in by_name), sum(one.written_off for one in by_name), by_name)


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
