"""When earn may rest: nothing waits that only its own jobs would see."""

from __future__ import annotations

from datetime import datetime

from services.earn.store import holds
from shared.db import Connection
from shared.sql import load

queries = load("services.earn", "resting.sql")


async def next_due(db: Connection, now: datetime) -> datetime | None:
    """When something falls due that only time brings; `now` where something waits already."""
    if await holds.due_bills(db, now, most=1):
        return now
    due: datetime | None = await queries.next_due(db, now=now)
    return due
