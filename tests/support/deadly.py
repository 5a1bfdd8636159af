"""An earn whose process dies in the middle of the transaction that records a certain bill, as a bad library might do it."""

import os
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from services.earn.api import ROUTERS
from services.earn.domain.bill import RecordBill
from services.earn.handlers import HEARS, ON, buried
from services.earn.handlers.record import record_bills
from services.earn.jobs.settling import settle_waiting
from shared.jobs import Job
from shared.messaging import Item, Outcome, PosEntry, Tx
from shared.service import create_service

CASHIER = "grim-reaper"


def create() -> FastAPI:
    """For `uvicorn --factory`; a bill is deadly by its cashier."""

    async def record_or_die(tx: Tx, items: Sequence[Item[Any]]) -> list[Outcome]:
        outcomes = await record_bills(tx, items)
        if any(CASHIER.encode() in item.payload for item in items):
            os._exit(70)
        return outcomes

    return create_service(
        "earn",
        "Pointbank earn",
        handlers={**ON, PosEntry: record_or_die, RecordBill: record_or_die},
        hears=HEARS,
        routers=ROUTERS,
        jobs=(Job("settle", every_s=1.0, run=settle_waiting),),
        buried=buried,
    )
