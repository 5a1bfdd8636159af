"""The job that asks the bank again for rewards that it has not answered."""

from __future__ import annotations

import structlog

from services.earn.handlers.benefits import AskBenefitsAgain
from services.earn.jobs.asking import asked_long_ago
from services.earn.store import benefits as store
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

POLL_S = 5.0


async def keep_benefits_going(runtime: TenantRuntime) -> None:
    """One turn."""
    async with runtime.read() as db:
        before = await asked_long_ago(runtime, db)
        overdue = await store.unanswered_effects(db, asked_before=before)
    if overdue:
        log.warning(
            "the bank owes answers about rewards, asking again", tenant=runtime.code, rewards=len(overdue)
        )
        await runtime.do(AskBenefitsAgain(before), job="benefits")
