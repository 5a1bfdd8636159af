"""Birthdays are told, once for each member, programme and year: by a job, and when an operator asks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from services.members import birthday_stays
from services.members.domain.birthdays import TellBirthdays, Turn, days
from shared.db import Connection
from shared.events import MemberBirthday
from shared.messaging import Done, Item, Outcome, Tx
from shared.runtime import TenantRuntime
from shared.sql import load

queries = load("services.members", "birthdays.sql")

_encode = msgspec.json.Encoder().encode

AT_ONCE = 500
MOST = 1_000_000
EVERY_S = 300.0


async def tell_birthdays(tx: Tx, items: Sequence[Item[TellBirthdays]]) -> list[Outcome]:
    """Tells of some birthdays, and of some stays in the segments around them, that are due and were not told. Safe at any time,
    twice, and beside another who does it."""
    outcomes: list[Outcome] = []
    for item in items:
        now = tx.now()
        found = await due(tx.db, now, most=MOST if item.command.dry_run else AT_ONCE + 1)
        stays = await birthday_stays.due(tx.db, now, most=MOST if item.command.dry_run else AT_ONCE + 1)
        if item.command.dry_run:
            outcomes.append(Done(200, _encode(Turn(len(found), 0, True, len(stays)))))
            continue
        told = await _tell(tx, item, found[:AT_ONCE]) if found else 0
        new = await birthday_stays.put_in(tx, item, stays[:AT_ONCE]) if stays else 0
        left = len(found[AT_ONCE:]) + len(stays[AT_ONCE:])
        outcomes.append(Done(200, _encode(Turn(told, left, False, new))))
    return outcomes


async def _tell(tx: Tx, item: Item[TellBirthdays], rows: Sequence[Any]) -> int:
    by_key = {(row["member_id"], row["programme"], row["year"]): row for row in rows}
    locked = await queries.lock_members(tx.db, member_ids=sorted({member_id for member_id, _, _ in by_key}))
    won = await queries.claim(
        tx.db,
        member_ids=[one for one, _, _ in by_key],
        programmes=[one for _, one, _ in by_key],
        years=[one for _, _, one in by_key],
    )
    mine = sorted(tuple(row) for row in won)
    if not mine:
        return 0
    telling = {member_id for member_id, _, _ in mine}
    counts = {row["member_id"]: row["event_sequence"] for row in locked if row["member_id"] in telling}
    for key in mine:
        row = by_key[key]
        member_id = row["member_id"]
        counts[member_id] += 1
        tx.emit(
            MemberBirthday(
                member_id=member_id,
                wallet_id=row["wallet_id"],
                programme=row["programme"],
                year=row["year"],
                occurred_at=row["begins_at"],
            ),
            subject=str(member_id),
            sequence=counts[member_id],
            item=item,
        )
        tx.audit("member.birthday", f"member/{member_id}", item=item, after={"programme": row["programme"]})
    await queries.count_events(tx.db, member_ids=list(counts), event_sequences=list(counts.values()))
    return len(mine)


async def due(db: Connection, now: datetime, *, most: int) -> list[Any]:
    """Birthdays that are to be told now."""
    zones = [(row["code"], ZoneInfo(row["zone"])) for row in await queries.zones(db)]
    asked = list(days(zones, now))
    if not asked:
        return []
    programmes, years, months, numbers, begins, ends = zip(*asked, strict=True)
    rows = await queries.due(
        db,
        programmes=programmes,
        years=years,
        months=months,
        days=numbers,
        begins_ats=begins,
        ends_ats=ends,
        most=most,
    )
    return list(rows)


async def keep_telling(runtime: TenantRuntime) -> None:
    """The job: tells what is due, some hundred in a transaction, until nothing is."""
    while True:
        async with runtime.read() as db:
            now = runtime.clock()
            if not (await due(db, now, most=1) or await birthday_stays.due(db, now, most=1)):
                return
        await runtime.do(TellBirthdays(), job="birthdays")
