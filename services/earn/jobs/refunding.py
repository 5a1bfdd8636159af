"""The job that keeps refunds going: begins those whose bill has come, asks the bank again, and counts what is not closed."""

from __future__ import annotations

import asyncio

import structlog

from services.earn.handlers.answered import AskAgain, TakeUp
from services.earn.jobs.asking import asked_long_ago
from services.earn.store import refunds as store
from shared.runtime import TenantRuntime

log = structlog.get_logger(__name__)

POLL_S = 0.5
"""A refund whose bill comes later is found by looking (decision 85): so long it may wait on after its bill."""
IDLE_S = 1.0

OPEN = ("waiting_for_bill", "queued", "pending", "overdue")


async def keep_refunds_going(runtime: TenantRuntime) -> None:
    """One turn; more of it at once while there is work, and a pause longer where no refund is open."""
    found, some_are_open = await _turn(runtime)
    while found:
        found, some_are_open = await _turn(runtime)
    if not some_are_open:
        await asyncio.sleep(IDLE_S)


async def _turn(runtime: TenantRuntime) -> tuple[bool, bool]:
    async with runtime.read() as db:
        by_status = await store.open_refunds(db)
        if not by_status:
            runtime.metrics.refunds_open(runtime.code, dict.fromkeys(OPEN, 0))
            return False, False
        before = await asked_long_ago(runtime, db)
        arrived = await store.arrived_refunds(db) if by_status.get("waiting_for_bill") else []
        overdue = await store.overdue_refunds(db, asked_before=before) if by_status.get("pending") else []
        owed = await store.owed_refunds(db, asked_before=before) if by_status.get("pending") else 0
        stranded = await store.stranded_refunds(db) if by_status.get("queued") else []
    runtime.metrics.refunds_open(
        runtime.code,
        # What was just asked again is owed for no shorter: else it would be overdue for a moment once a minute.
        {state: by_status.get(state, owed if state == "overdue" else 0) for state in OPEN},
    )
    if overdue:
        log.warning(
            "the bank owes answers to refunds, asking again", tenant=runtime.code, refunds=len(overdue)
        )
    if stranded:
        log.warning("refunds waited for none of their bill", tenant=runtime.code, refunds=len(stranded))
    await asyncio.gather(
        *[runtime.do(TakeUp(refund_id, reference), job="refunds") for refund_id, reference in arrived],
        *[
            runtime.do(AskAgain(refund_id, bill_id, before), job="refunds")
            for refund_id, bill_id in (*overdue, *stranded)
        ],
    )
    return bool(arrived), bool(by_status)
