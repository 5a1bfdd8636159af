"""The job of benefits: those that expired unused are written off.

It keeps nothing of its own, and decides each once more under its lock: it may run twice, on two machines, or be killed.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from services.redeem.domain.giving import LapseBenefits, Lapsed
from services.redeem.sweeping import Bank
from shared.messaging import Done
from shared.runtime import TenantRuntime

JOB = "benefits"
EVERY_S = 300.0
PAGE = 500

Progress = Callable[[int], None]


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


async def job(runtime: TenantRuntime) -> None:
    """One turn."""
    await lapse(runtime)
