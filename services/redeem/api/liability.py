"""What is owed to members of each programme, now or before a moment."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime, BaseModel
from starlette.responses import Response

from services.redeem.api.shapes import MoneyOut, WorthOut
from services.redeem.store.liability import befores_of, owed_of, plan_for_all
from shared.http.bodies import Day, Moment
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.problems import RateLimited
from shared.http.routing import Router
from shared.http.writes import Read, reads
from shared.programme.model import Code

router = Router(prefix="/v1/liability", tags=["ledger"])

PATIENCE_MS = 50_000
"""The gateway waits for 65 s."""


class OwedOut(BaseModel):
    """`points` is available, held and reserved together, and `owed` its money with that of gift cards and open benefits. `debt` is
    what members owe, 0 or less, and taken off nothing. Money is what the programme's `version` of then says that a point is worth;
    each amount is rounded down by itself. `at` null: all that is written. `settled`: asked again, it is the same."""

    programme: str
    at: AwareDatetime | None
    settled: bool
    version: int
    point_value: str
    available: WorthOut
    held: WorthOut
    reserved: WorthOut
    debt: WorthOut
    points: WorthOut
    gift_cards: MoneyOut
    benefits: MoneyOut
    owed: MoneyOut


class OwedsOut(BaseModel):
    items: list[OwedOut]


@router.get(
    "",
    response_model=OwedsOut,
    responses=problems("programme_unknown", "occurred_in_future", "rate_limited"),
)
async def get_owed(
    call: Annotated[Read, reads("audit:read")],
    at: Annotated[
        Day | Moment | None,
        Query(
            description="Only what was written before then: a day (its beginning, in each programme's zone) or a time with its "
            "offset. Without it: all that is written."
        ),
    ] = None,
    programme: Annotated[Code | None, Query(description="Without it each programme.")] = None,
) -> Response:
    """What is owed to members: points, gift cards and open benefits of each programme, summed from the lines of the ledgers by
    when they were written. What is over and not swept yet is in it. It reads them all: one call of a tenant at a time."""
    turn: asyncio.Lock = call.tenant.cache.setdefault((__name__, "turn"), asyncio.Lock())
    if turn.locked():
        raise RateLimited("What is owed is being summed for somebody else. Try again in some seconds.")
    async with (
        turn,
        call.tenant.read() as db,
        db.transaction(isolation="repeatable_read", readonly=True),
    ):
        await plan_for_all(db, patience_ms=PATIENCE_MS)
        found = await owed_of(db, await befores_of(db, programme=programme, at=at))
    return answer({"items": [one.answered() for one in found]})
