"""When a bill was recorded, which finds its partition: its id, a UUIDv7, says about when, by the clock of the process that made it.

That clock may be wrong, and `recorded_at` is PostgreSQL's (docs/decisions/0250): what is not near the id's time is looked for
everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.db import Connection
from shared.sql import Query

NEAR = timedelta(hours=1)
"""How far `recorded_at` lies from the time in the id while clocks go right, at most."""

EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
"""Between which times every bill was recorded."""


def recorded_about(bill_id: UUID) -> tuple[datetime, datetime]:
    """Between which times a bill with this id was recorded, if the clocks went right."""
    try:
        made_at = datetime.fromtimestamp((bill_id.int >> 80) / 1000, tz=UTC)
        return made_at - NEAR, made_at + NEAR
    except (OverflowError, ValueError, OSError):
        return EVER  # no id of ours


async def of_bills(db: Connection, query: Query, bill_ids: Collection[UUID]) -> list[Any]:
    """The rows of a query by `bill_ids`, `sinces` and `untils` whose rows begin with the bill's id."""
    ids = list(bill_ids)
    rows = await _between(db, query, ids, [recorded_about(one) for one in ids])
    found = {row[0] for row in rows}
    others = [one for one in ids if one not in found]
    return rows + await _between(db, query, others, [EVER] * len(others)) if others else rows


async def _between(
    db: Connection, query: Query, ids: Sequence[UUID], times: Sequence[tuple[datetime, datetime]]
) -> list[Any]:
    rows = await query(
        db, bill_ids=ids, sinces=[since for since, _ in times], untils=[until for _, until in times]
    )
    return list(rows)
