"""What ladders' conditions ask besides points: segments as members told them, and how far a day has been judged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from uuid import UUID

from shared.db import Connection
from shared.events import MemberSegmented
from shared.sql import load

queries = load("services.tiers", "segments.sql")


async def learn(db: Connection, told: Sequence[tuple[MemberSegmented, int]]) -> None:
    """Words about stays, each with its place among the events about the member; for ever."""
    await queries.learn_segments(
        db,
        member_ids=[one.member_id for one, _ in told],
        sequences=[sequence for _, sequence in told],
        segments=[one.segment for one, _ in told],
        from_ats=[one.from_at for one, _ in told],
        until_ats=[one.until_at for one, _ in told],
    )


async def segments_at(
    db: Connection, member_ids: Collection[UUID], at: datetime
) -> dict[UUID, frozenset[str]]:
    """The segments that these members are in at that moment, by the last word about each stay."""
    rows = await queries.segments_at(db, member_ids=list(member_ids), at=at)
    return {member_id: frozenset(segments) for member_id, segments in rows}


async def wallets_of(db: Connection, member_ids: Sequence[UUID]) -> list[tuple[UUID, UUID, str]]:
    """(wallet, member, programme) of these members."""
    return [tuple(row) for row in await queries.wallets_of(db, member_ids=member_ids)]


async def latest(db: Connection) -> list[tuple[str, int, date | None]]:
    """(programme, its latest version, the last day by which everybody was judged)."""
    return [tuple(row) for row in await queries.latest(db)]


async def take_of_day(db: Connection, programme: str, day: date, most: int) -> list[UUID]:
    """The next wallets to judge by this day; none: everybody has been. Locks the programme's day until the transaction ends."""
    await queries.begin_day(db, programme=programme, day=day)
    rows = await queries.next_of_day(db, programme=programme, day=day, most=most)
    wallet_ids = [row["wallet_id"] for row in rows]
    await queries.go_on(
        db,
        programme=programme,
        day=day,
        through=wallet_ids[-1] if wallet_ids else None,
        done=len(wallet_ids) < most,
    )
    return wallet_ids
