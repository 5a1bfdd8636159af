"""Standings over HTTP, for reading: tiers change by what happens, never by a call."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import BaseModel, Field
from starlette.responses import Response

from services.tiers import store
from services.tiers.domain import Known, Programme, Standing, end, is_over, missing
from services.tiers.segments import segments_at
from shared.db import Connection
from shared.errors import NotFound
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, reads

router = Router(prefix="/v1/tiers", tags=["tiers"])

LATEST = 2**63 - 1


class TierName(BaseModel):
    """A step of the ladder, with its names by locale."""

    code: str
    name: dict[str, str]


class NextTier(TierName):
    """The next step and what is still missing to reach it, by number."""

    missing: dict[str, int]


class StandingOut(BaseModel):
    """Where a wallet stands. `tier` is null until its programme is known; `until` is exclusive, null for no end."""

    wallet_id: UUID
    member_id: UUID
    merged_into: UUID | None = Field(
        default=None, description="The wallet that it was merged into; that one counts."
    )
    programme: str
    programme_version: int | None
    tier: TierName | None
    since: datetime | None
    until: datetime | None
    numbers: dict[str, int] = Field(
        description="What counts: points in this calendar year, and of a lifetime."
    )
    next: NextTier | None


class ChangeOut(BaseModel):
    """A change of a standing, with the rule, the programme version and the numbers that decided it."""

    sequence: int
    from_: str | None = Field(alias="from")
    to: str
    direction: str
    rule: dict[str, Any]
    numbers: dict[str, int]
    facts: dict[str, Any] | None = Field(
        description="Where the ladder has conditions: `at` which moment they were asked, the member's `segments` then, and of each "
        "tier whose points were reached the result of its comparisons (`tried`: t or f, in the order in which they are written)."
    )
    programme: str
    programme_version: int
    effective_at: datetime
    until: datetime | None
    cause: str
    recorded_at: datetime


class HistoryOut(BaseModel):
    items: list[ChangeOut]
    next_cursor: str | None


class Position(msgspec.Struct):
    """The cursor of a history: the sequence of the last change shown."""

    sequence: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


@router.get("/{wallet_id}", response_model=StandingOut, responses=problems("not_found"))
async def get_standing(
    wallet_id: UUID, call: Annotated[Read, reads("tiers:read", one_merchant="alike")]
) -> Response:
    """Where a wallet stands, and what the next tier takes."""
    async with call.tenant.read() as db:
        row = await store.standing_of(db, wallet_id)
        if row is None:
            raise NotFound("There is no such wallet in any ladder.")
        by_year = (await store.points_by_year(db, [wallet_id])).get(wallet_id, {})
        versions = await store.latest_versions(db, [row.programme])
        known = None
        if versions:
            known = await store.known(db, call.tenant.cache, row.programme, versions[row.programme])
        now = call.tenant.clock()
        standing = row.standing
        if known is not None and is_over(standing, now):
            standing = await _ended(db, known.programme, row, by_year, now)
    shown: dict[str, Any] = {
        "wallet_id": wallet_id,
        "member_id": row.member_id,
        **({} if row.heir is None else {"merged_into": row.heir}),
        "programme": row.programme,
        "programme_version": known.programme.version if known else None,
        "tier": None,
        "since": standing.since,
        "until": standing.until,
        "numbers": {"lifetime_points": sum(by_year.values())},
        "next": None,
    }
    if known is not None:
        shown |= _judged(known, standing, by_year, now)
    return answer(shown)


async def _ended(
    db: Connection, programme: Programme, row: store.Found, by_year: dict[int, int], now: datetime
) -> Standing:
    """Where a wallet stands whose standing is over, before the job has come by; nowhere without a ladder."""
    if not programme.ladder:
        return Standing(sequence=row.standing.sequence)
    mine = await segments_at(db, [row.member_id], now) if programme.asks_segments else {}
    known = Known(now, mine.get(row.member_id, frozenset()))
    return end(programme, row.standing, by_year, known=known)[0]


def _judged(known: store.Known, standing: Standing, by_year: dict[int, int], now: datetime) -> dict[str, Any]:
    """What only a known programme can tell: names, this year's points, the next tier."""
    programme = known.programme
    year, lifetime = programme.year_of(now), sum(by_year.values())
    points = lifetime if programme.lifecycle == "lifetime" else by_year.get(year, 0)
    shown: dict[str, Any] = {"numbers": {"points": points, "year": year, "lifetime_points": lifetime}}
    rank = programme.rank_of(standing.tier)
    if standing.tier is not None:
        name = programme.ladder[rank].name if rank >= 0 else {}
        shown["tier"] = {"code": standing.tier, "name": name}
    if rank + 1 < len(programme.ladder):
        above = programme.ladder[rank + 1]
        lacking = missing(above.entry, programme.numbers(points, year))
        shown["next"] = {"code": above.code, "name": above.name, "missing": lacking}
    return shown


@router.get("/{wallet_id}/history", response_model=HistoryOut, responses=problems("not_found"))
async def get_history(
    wallet_id: UUID, call: Annotated[Read, reads("tiers:read")], cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """A wallet's changes of tier, newest first."""
    position = decode_cursor(cursor, Position)
    before = position.sequence if position is not None else LATEST
    async with call.tenant.read() as db:
        if await store.standing_of(db, wallet_id) is None:
            raise NotFound("There is no such wallet in any ladder.")
        changes = await store.history_page(db, wallet_id, before=before, most=limit + 1)
    shown = changes[:limit]
    return page(shown, Position(shown[-1]["sequence"]) if len(changes) > limit else None)
