"""Jobs of the bank that an operator may start by hand."""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import BaseModel, Field
from starlette.responses import Response

from services.redeem.api.portions import PortionBody, time_is_up, told
from services.redeem.api.shapes import WorthOut
from services.redeem.domain.jobs import JobDone
from services.redeem.jobs.releasing import BEGIN, PAGE, Released, ReleasePlace, release_step
from shared.http.cursors import answer, decode_cursor
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes

router = Router(prefix="/v1/redemptions", tags=["redemptions"])


class ReleaseBody(PortionBody):
    """With `dry_run` it is only said what would be released."""

    step: Annotated[int, Field(ge=1, le=PAGE, description="Reservations that a step looks at.")] = PAGE


class OfProgrammeOut(BaseModel):
    """What was released of one programme; `expired` is the part whose lots had expired."""

    programme: str
    reservations: int
    released: WorthOut
    expired: WorthOut


class ReleasedOut(BaseModel):
    """How many reservations past their time this call released, or would. `next_cursor` null: the run is over."""

    dry_run: bool
    reservations: int
    programmes: list[OfProgrammeOut]
    next_cursor: str | None


@router.post("/overdue/release", response_model=ReleasedOut, responses=problems())
async def release(call: Annotated[Write, writes("ops:write")], body: ReleaseBody | None = None) -> Response:
    """Releases what is set aside past its time, as the job does every few seconds: a portion of it. Portions may be broken off,
    repeated, and made by two at once: each reservation is released once."""
    asked = body if body is not None else ReleaseBody()
    over, found, now = time_is_up(asked.within_s), Released(asked.dry_run), call.tenant.clock()
    place: ReleasePlace | None = decode_cursor(asked.cursor, ReleasePlace) or BEGIN
    while place is not None:
        place = await release_step(call.tenant, found, place, now, most=asked.step)
        if over():
            break
    content = {**msgspec.structs.asdict(found), "next_cursor": told(place)}
    if asked.dry_run:
        return answer(content)
    return await call.submit(JobDone(200, msgspec.json.encode(content)))
