"""When the bank may rest: nothing waits that only its own jobs would see. What expires is spent by nobody meanwhile, and is swept
when the tenant is looked at."""

from __future__ import annotations

from datetime import datetime

from services.redeem.store import asked
from shared.db import Connection
from shared.sql import load

queries = load("services.redeem", "resting.sql")


async def next_due(db: Connection, now: datetime) -> datetime | None:
    """When something falls due that only time brings; `now` where something waits already."""
    if await asked.ready(db):
        return now
    due: datetime | None = await queries.next_due(db)
    return due
