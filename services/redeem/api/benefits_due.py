"""Benefits as a whole: the run that issues and writes off what is due, and what open ones cost."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from services.redeem.api.portions import PortionBody, time_is_up, told
from services.redeem.api.rewards import terms_of
from services.redeem.api.shapes import MoneyOut
from services.redeem.domain.jobs import JobDone
from services.redeem.jobs.benefits_due import BEGIN, PAGE, DuePlace, Run, run_step
from services.redeem.store import giving
from shared.http.cursors import answer, decode_cursor
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.money import Money
from shared.programme.model import Code
from shared.runtime import TenantRuntime

router = Router(prefix="/v1/benefits", tags=["rewards"])


class RunBody(PortionBody):
    """With `dry_run` it is only said what would be done."""

    step: Annotated[int, Field(ge=1, le=PAGE, description="Wallets, or benefits, that a step looks at.")] = (
        PAGE
    )


class OfRewardOut(BaseModel):
    """What was done of a reward, or would be."""

    programme: str
    reward: str
    issued: int
    written_off: int
    written_off_minor: int


class RunOut(BaseModel):
    """Issued: to who has reached a reward's threshold. Written off: what expired unused. All of it of this call; `next_cursor`
    null: the run is over."""

    dry_run: bool
    issued: int
    written_off: int
    rewards: list[OfRewardOut]
    next_cursor: str | None


class LiabilityOut(BaseModel):
    """What a reward's open benefits would cost if all of them were used: issued, not used, not taken back, not written off.
    `expired`: the part of these that can't be used any more, and is about to be written off."""

    programme: str
    reward: str
    issued: int
    consumed: int
    consumed_cost: MoneyOut
    withdrawn: int
    written_off: int
    open: int
    liability: MoneyOut
    expired: int


class LiabilitiesOut(BaseModel):
    items: list[LiabilityOut]


@router.post("/runs", response_model=RunOut, responses=problems())
async def run_benefits(call: Annotated[Write, writes("ops:write")], body: RunBody | None = None) -> Response:
    """Issues and writes off what is due, as the jobs do by themselves: a portion of it. Portions may be broken off, repeated, and
    made by two at once: each benefit is issued once, and written off once."""
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    asked = body if body is not None else RunBody()
    over, found = time_is_up(asked.within_s), Run(asked.dry_run)
    place: DuePlace | None = decode_cursor(asked.cursor, DuePlace) or BEGIN
    while place is not None:
        place = await run_step(runtime, found, place, most=asked.step)
        if over():
            break
    content = {**msgspec.structs.asdict(found), "next_cursor": told(place)}
    if asked.dry_run:
        return answer(content)
    return await call.submit(JobDone(200, msgspec.json.encode(content)))


@router.get("/liability", response_model=LiabilitiesOut, responses=problems("programme_unknown"))
async def get_liability(
    call: Annotated[Read, reads("audit:read")],
    programme: Annotated[Code | None, Query(description="Without it each programme.")] = None,
) -> Response:
    """What open benefits cost, by reward."""
    async with call.tenant.read() as db:
        if programme is not None:
            await terms_of(call, db, programme)
        rows = await giving.liability(db, programme, call.tenant.clock())
    return answer({"items": [_shown(row) for row in rows]})


def _shown(row: giving.Liability) -> dict[str, object]:
    shown = row._asdict()
    currency, consumed, owed = (shown.pop(name) for name in ("currency", "consumed_minor", "open_minor"))
    return {**shown, "consumed_cost": Money(consumed, currency), "liability": Money(owed, currency)}
