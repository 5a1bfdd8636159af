"""An earn whose process dies in the middle of the transaction that records one certain bill, as a bad library might do it."""

import os
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from services.earn import app, handlers
from services.earn.domain.bill import RecordBill
from shared.config import Settings
from shared.messaging import Item, Outcome, PosEntry, Tx


def create(settings: Settings | None = None) -> FastAPI:
    """For `uvicorn --factory`; DEADLY_BILL names the bill."""
    deadly = os.environ["DEADLY_BILL"].encode()

    async def record_bills(tx: Tx, items: Sequence[Item[Any]]) -> list[Outcome]:
        outcomes = await handlers.record_bills(tx, items)
        if any(deadly in item.payload for item in items):
            os._exit(70)
        return outcomes

    app.ON = {**handlers.ON, PosEntry: record_bills, RecordBill: record_bills}
    return app.create(settings)
