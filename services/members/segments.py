"""Members are put into segments and taken out of them; each change is told, so that a bill is judged by what was known."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.members import store
from services.members.domain.merges import MemberMerged
from services.members.domain.segments import PutInSegment, Stay, Stays, TakeOutOfSegment, put_in, take_out
from shared.db import Connection
from shared.errors import NotFound, Refusal
from shared.events import MemberSegmented
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.sql import load

queries = load("services.members", "segments.sql")

_encode = msgspec.json.Encoder().encode


class Locked(NamedTuple):
    """A member whose row is locked. `merged_into`: who it goes on as, through every merge."""

    event_sequence: int
    merged_into: UUID | None


async def move_segments(tx: Tx, items: Sequence[Item[PutInSegment | TakeOutOfSegment]]) -> list[Outcome]:
    """Writes and tells what differs; a repeat changes nothing. Refuses not_found, and member_merged for one whose segments nobody
    looks at any more."""
    locked = await lock(tx.db, {item.command.member_id for item in items})
    sequences = {member_id: one.event_sequence for member_id, one in locked.items()}
    known = await stays_of(tx.db, sequences)
    now = tx.now()
    outcomes: list[Outcome] = []
    written: dict[tuple[UUID, str, datetime], Stay] = {}
    for item in items:
        member_id = item.command.member_id
        if (refusal := _refusal(locked.get(member_id))) is not None:
            outcomes.append(Refused(refusal))
            continue
        stays = known.setdefault(member_id, [])
        for stay in _changed(stays, item.command, now):
            stays[:] = sorted(
                [one for one in stays if (one.segment, one.from_at) != (stay.segment, stay.from_at)] + [stay],
                key=lambda one: (one.segment, one.from_at),
            )
            written[member_id, stay.segment, stay.from_at] = stay
            sequences[member_id] += 1
            tell(tx, item, member_id, stay, sequences[member_id])
        mine = [stay for stay in stays if stay.segment == item.command.segment]
        outcomes.append(Done(200, _encode(Stays(member_id, mine))))
    if written:
        await write(tx.db, written, sequences)
    return outcomes


def _refusal(member: Locked | None) -> Refusal | None:
    if member is None:
        return NotFound("There is no such member.")
    if member.merged_into is not None:
        return MemberMerged(f"The member was merged into {member.merged_into}. Name that one.")
    return None


def _changed(stays: Iterable[Stay], asked: PutInSegment | TakeOutOfSegment, now: datetime) -> list[Stay]:
    if isinstance(asked, TakeOutOfSegment):
        return take_out(stays, asked, now)
    stay = put_in(stays, asked, now)
    return [] if stay is None else [stay]


def tell(tx: Tx, item: Item[Any], member_id: UUID, stay: Stay, sequence: int) -> None:
    """Says what the stay is now; `sequence` counts the events about the member, who is locked."""
    tx.emit(
        MemberSegmented(
            member_id=member_id, segment=stay.segment, from_at=stay.from_at, until_at=stay.until_at
        ),
        subject=str(member_id),
        sequence=sequence,
        item=item,
    )
    tx.audit("member.segment", f"member/{member_id}", item=item, after=stay)


async def lock(db: Connection, member_ids: Iterable[UUID]) -> dict[UUID, Locked]:
    """These members, locked; those that don't exist are left out."""
    rows = await queries.lock_members(db, member_ids=list(member_ids))
    merged = [row["member_id"] for row in rows if row["merged_into"] is not None]
    ends = await store.goes_on_as(db, merged) if merged else {}
    return {row["member_id"]: Locked(row["event_sequence"], ends.get(row["member_id"])) for row in rows}


async def stays_of(db: Connection, member_ids: Iterable[UUID]) -> dict[UUID, list[Stay]]:
    """Every stay of these members, by segment and beginning."""
    found: dict[UUID, list[Stay]] = {}
    for row in await queries.stays_of(db, member_ids=list(member_ids)):
        found.setdefault(row["member_id"], []).append(Stay(row["segment"], row["from_at"], row["until_at"]))
    return found


async def write(
    db: Connection, stays: Mapping[tuple[UUID, str, datetime], Stay], sequences: Mapping[UUID, int]
) -> None:
    """These stays, by member, segment and beginning; and how many events have told of the members by now."""
    moved = {member_id: sequences[member_id] for member_id, _, _ in stays}
    await queries.count_events(db, member_ids=list(moved), event_sequences=list(moved.values()))
    await queries.write_stays(
        db,
        member_ids=[member_id for member_id, _, _ in stays],
        segments=[segment for _, segment, _ in stays],
        from_ats=[from_at for _, _, from_at in stays],
        until_ats=[stay.until_at for stay in stays.values()],
    )
