"""Which segments members are in: what was told, and what is asked of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from services.earn.domain.judge import SegmentStay
from shared.db import Connection
from shared.sql import load

queries = load("services.earn.store", "segments.sql")


async def learn_segments(
    db: Connection, told: Sequence[tuple[UUID, int, str, datetime, datetime | None]]
) -> None:
    """(member, place among the events about the member, segment, from, until)."""
    await queries.learn_segments(
        db,
        member_ids=[row[0] for row in told],
        sequences=[row[1] for row in told],
        segments=[row[2] for row in told],
        from_ats=[row[3] for row in told],
        until_ats=[row[4] for row in told],
    )


async def segments_of(db: Connection, member_ids: Collection[UUID]) -> dict[UUID, list[SegmentStay]]:
    """The stays of these members, each as it was told last."""
    found: dict[UUID, list[SegmentStay]] = {}
    for row in await queries.segments_of(db, member_ids=list(member_ids)):
        found.setdefault(row[0], []).append(SegmentStay(row[1], row[2], row[3]))
    return found
