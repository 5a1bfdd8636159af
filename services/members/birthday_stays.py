"""Members are put into the segments around their birthday, each stay once, some days before it begins."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from services.members import segments
from services.members.domain.birthdays import SEGMENTS, windows
from services.members.domain.segments import Stay
from shared.db import Connection
from shared.messaging import Item, Tx
from shared.sql import load

queries = load("services.members", "birthdays.sql")


async def put_in(tx: Tx, item: Item[Any], rows: Sequence[Any]) -> int:
    """Writes and tells these stays; gives how many are new. Of two processes that do so at once one has the members' locks first,
    and the other finds its stays: a stay is named by its beginning, and one that was called off meanwhile stays so."""
    locked = await segments.lock(tx.db, {row["member_id"] for row in rows})
    sequences = {member_id: one.event_sequence for member_id, one in locked.items()}
    known = await segments.stays_of(tx.db, sequences)
    written: dict[tuple[UUID, str, datetime], Stay] = {}
    for row in rows:
        member_id, stay = row["member_id"], Stay(row["segment"], row["from_at"], row["until_at"])
        named = {(one.segment, one.from_at) for one in known.get(member_id, ())}
        if member_id not in sequences or (stay.segment, stay.from_at) in named:
            continue
        written.setdefault((member_id, stay.segment, stay.from_at), stay)
    for (member_id, _, _), stay in written.items():
        sequences[member_id] += 1
        segments.tell(tx, item, member_id, stay, sequences[member_id])
    if written:
        await segments.write(tx.db, written, sequences)
    return len(written)


async def due(db: Connection, now: datetime, *, most: int) -> list[Any]:
    """(member_id, segment, from_at, until_at) that are to be told now."""
    asking = [
        (row["code"], ZoneInfo(row["zone"]), row["segments"])
        for row in await queries.asking(db, segments=list(SEGMENTS))
    ]
    asked = list(windows(asking, now))
    if not asked:
        return []
    programmes, names, months, days, froms, untils = zip(*asked, strict=True)
    rows = await queries.due_stays(
        db,
        programmes=programmes,
        segments=names,
        months=months,
        days=days,
        from_ats=froms,
        until_ats=untils,
        most=most,
    )
    return list(rows)
