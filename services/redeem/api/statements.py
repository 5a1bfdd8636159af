"""What a merchant accepted in points on a day, in money: what it is settled by."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime, BaseModel
from starlette.responses import Response

from services.redeem.api.shapes import WorthOut
from services.redeem.store.statements import statements_of
from shared.http.bodies import Day
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, reads
from shared.programme.model import Code

router = Router(prefix="/v1/merchants", tags=["redemptions"])


class FiguresOut(BaseModel):
    """`accepted` is captured less returned: below zero where more came back than was taken that day. `rewards`: points that bought
    rewards there, less those that came back; they paid for no bill and are not in `accepted`."""

    captures: int
    captured: WorthOut
    returns: int
    returned: WorthOut
    accepted: WorthOut
    rewards: WorthOut


class OfTerminalOut(BaseModel):
    """`terminal` null: none was named."""

    terminal: str | None
    figures: FiguresOut


class StatementOut(BaseModel):
    """The day from `since` to `until` (exclusive) where the programme lives, by when we wrote it: a refund that comes late stands
    on the day it came. `settled`: nothing is added any more."""

    merchant: str
    programme: str
    currency: str
    day: date
    since: AwareDatetime
    until: AwareDatetime
    settled: bool
    terminals: list[OfTerminalOut]
    total: FiguresOut


class StatementsOut(BaseModel):
    items: list[StatementOut]


@router.get(
    "/{merchant}/statements",
    response_model=StatementsOut,
    responses=problems("not_found", "programme_unknown"),
)
async def get_statements(
    merchant: Code,
    call: Annotated[Read, reads("redemptions:read", one_merchant="own")],
    day: Annotated[Day | None, Query(description="Without it the last day that is over.")] = None,
    programme: Annotated[Code | None, Query(description="Without it each programme.")] = None,
) -> Response:
    """What was captured and returned at a merchant on a day, by terminal and together, in points and money; one for each
    programme."""
    call.principal.at_merchant(merchant)
    async with (
        call.tenant.read() as db,
        db.transaction(isolation="repeatable_read", readonly=True),
    ):
        found = await statements_of(db, merchant=merchant, programme=programme, day=day)
    return answer({"items": found})
