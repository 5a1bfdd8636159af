"""The job that asks the bank again for rewards that it has not answered."""

from __future__ import annotations

from datetime import timedelta

import structlog

from services.earn.handlers.benefits import AskBenefitsAgain
from services.earn.store import benefits as store
from shared.clock import real_clock
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

POLL_S = 5.0


async def keep_benefits_going(runtime: TenantRuntime) -> None:
    """One turn."""
    before = real_clock() - timedelta(seconds=runtime.settings.ask_again_s)
    async with runtime.read() as db:
        overdue = await store.unanswered_effects(db, asked_before=before)
    if overdue:
        log.warning(
            "the bank owes answers about rewards, asking again", tenant=runtime.code, rewards=len(overdue)
        )
        await runtime.do(AskBenefitsAgain(before), job="benefits")
