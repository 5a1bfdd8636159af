"""The review queue over HTTP: what guards flagged, and what somebody decided about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import Body as FromBody
from fastapi import Query
from pydantic import BaseModel, StringConstraints
from starlette.responses import Response

from services.earn.api.bills import WorthOut
from services.earn.domain.review import Decide, State, Verdict, told
from services.earn.store import reviews
from shared.http.bodies import Body
from shared.http.cursors import Cursor, Limit, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.programme.guards import Pattern

router = Router(prefix="/v1/reviews", tags=["reviews"])

_NEWEST = UUID(int=2**128 - 1)


class ReviewOut(BaseModel):
    """A flagged bill in a programme. `held`: all that it earned there, until it is released; cancelled, it is taken back."""

    review_id: UUID
    state: State
    patterns: list[str]
    bill_id: UUID
    merchant: str
    bill_ref: str
    terminal: str | None
    cashier: str | None
    occurred_at: datetime
    total_minor: int
    currency: str
    member_id: UUID
    wallet_id: UUID
    programme: str
    held: WorthOut
    flagged_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class ReviewsOut(BaseModel):
    """A page of reviews, newest first."""

    items: list[ReviewOut]
    next_cursor: str | None


class VerdictBody(Body):
    """Why."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class _Position(msgspec.Struct):
    before: UUID


@router.get("", response_model=ReviewsOut)
async def list_reviews(
    call: Annotated[Read, reads("audit:read", one_merchant="own")],
    state: Annotated[State | None, Query(description="Without it: open ones.")] = None,
    pattern: Annotated[Pattern | None, Query(description="Flagged for this, among others.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Bills whose points are held because a guard flagged them, the newest first."""
    position = decode_cursor(cursor, _Position)
    async with call.tenant.read() as db:
        rows = await reviews.page(
            db,
            states=[state or "open"],
            pattern=pattern,
            merchant=call.principal.merchant,
            before=_NEWEST if position is None else position.before,
            most=limit + 1,
        )
    shown = [told(one) for one in rows[:limit]]
    return page(shown, _Position(rows[limit - 1].review_id) if len(rows) > limit else None)


_REFUSED = problems("person_required", "not_found", "review_decided")


@router.post("/{review_id}/release", response_model=ReviewOut, responses=_REFUSED)
async def release_review(
    review_id: UUID,
    asked: Annotated[VerdictBody, FromBody()],
    call: Annotated[Write, writes("adjustments:approve", one_merchant="own")],
) -> Response:
    """The bill is as it should be: its points are free, those that its rules hold when their day comes. Takes a person; audited."""
    return await _decide(call, review_id, "released", asked.reason)


@router.post("/{review_id}/cancel", response_model=ReviewOut, responses=_REFUSED)
async def cancel_review(
    review_id: UUID,
    asked: Annotated[VerdictBody, FromBody()],
    call: Annotated[Write, writes("adjustments:approve", one_merchant="own")],
) -> Response:
    """The points of the bill are taken back, and the stamps and rewards that it gave in this programme; caps and budgets get the
    points back when the bank has. Takes a person; audited."""
    return await _decide(call, review_id, "cancelled", asked.reason)


async def _decide(call: Write, review_id: UUID, verdict: Verdict, reason: str) -> Response:
    call.principal.person()
    return await call.submit(Decide(review_id, verdict, reason, call.principal.merchant))
