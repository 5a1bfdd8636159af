"""Jobs of the bank that an operator may start by hand."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel
from starlette.responses import Response

from services.redeem.api.shapes import WorthOut
from services.redeem.releasing import release_reservations
from shared.http.bodies import Body
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes

router = Router(prefix="/v1/redemptions", tags=["redemptions"])


class ReleaseBody(Body):
    """With `dry_run` it is only said what would be released."""

    dry_run: bool = False


class OfProgrammeOut(BaseModel):
    """What was released of one programme; `expired` is the part whose lots had expired."""

    programme: str
    reservations: int
    released: WorthOut
    expired: WorthOut


class ReleasedOut(BaseModel):
    """How many reservations past their time were released, or would be."""

    dry_run: bool
    reservations: int
    programmes: list[OfProgrammeOut]


@router.post("/overdue/release", response_model=ReleasedOut, responses=problems())
async def release(call: Annotated[Write, writes("ops:write")], body: ReleaseBody | None = None) -> Response:
    """Releases what is set aside past its time, as the job does every few seconds. A repeat is another run: it finds less."""
    found = await release_reservations(call.tenant, dry_run=body is not None and body.dry_run)
    return answer(found)
