"""Held points over HTTP: a bill is activated, and what is due is released when an operator asks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Body as FromBody
from pydantic import BaseModel
from starlette.responses import Response

from services.earn.api.bills import WorthOut
from services.earn.domain.hold import Activate, ReleaseDue
from shared.http.bodies import Body
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes

router = Router(prefix="/v1", tags=["holds"])


class ReleasedOut(BaseModel):
    programme: str
    wallet_id: UUID
    released: WorthOut


class ActivatedOut(BaseModel):
    """What an activation released, by wallet: nothing where it was activated before, is not judged, or has a refund in flight."""

    bill_id: UUID
    activated_at: datetime
    released: list[ReleasedOut]


class ReleaseBody(Body):
    """`dry_run`: nothing is released, only counted."""

    dry_run: bool = False


class TurnOut(BaseModel):
    """What one turn came to: bills, and the points that were asked to be released. `left`: bills that are due still."""

    bills: int
    points: int
    left: int
    dry_run: bool


@router.post(
    "/bills/{bill_id}/activate",
    status_code=200,
    response_model=ActivatedOut,
    responses=problems("not_found"),
)
async def activate(
    bill_id: UUID, call: Annotated[Write, writes("bills:write", one_merchant="own")]
) -> Response:
    """What was bought is activated, or delivered: points that were held until then are released."""
    return await call.submit(Activate(bill_id, call.principal.merchant))


@router.post("/holds/release", status_code=200, response_model=TurnOut)
async def release(
    asked: Annotated[ReleaseBody, FromBody()], call: Annotated[Write, writes("ops:write")]
) -> Response:
    """Releases held points that are due, some hundred bills at a time; asked again until nothing is left. Safe at any time,
    twice, and beside the job that does the same."""
    return await call.submit(ReleaseDue(asked.dry_run))
