"""Adjustments: asked for by a person; above the programme's threshold, and for several wallets at once, decided by another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints
from starlette.responses import Response

from services.redeem.api.bodies import Reference
from services.redeem.api.shapes import WorthOut
from services.redeem.domain.acts import Adjust, Adjustment, AdjustmentState, DecideAdjustment, Evidence, Part
from services.redeem.domain.answers import adjustment_out
from services.redeem.domain.spending import MOST_POINTS
from services.redeem.store import adjustments, versions
from shared.db import Connection
from shared.errors import NotFound
from shared.http.bodies import Body, Moment
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.runtime import TenantRuntime
from shared.http.writes import Read, Write, reads, writes
from shared.ids import uuid7
from shared.programme.compiled import CompiledProgramme
from shared.programme.model import Code

router = Router(prefix="/v1/adjustments", tags=["adjustments"])

Note = Annotated[str, StringConstraints(min_length=1, max_length=500)]
_NEWEST = UUID(int=2**128 - 1)


class EvidenceBody(Body):
    """What proves it: your own reference, and the SHA-256 in hex of the document that it names."""

    reference: Annotated[Reference, StringConstraints(pattern=r"\S")]  # blanks prove nothing
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None

    def evidence(self) -> Evidence:
        """As it is kept."""
        return Evidence(self.reference, None if self.sha256 is None else bytes.fromhex(self.sha256))


class ItemBody(Body):
    """Points above zero are given, with an expiry or for ever; points below zero are taken, in the order in which they would be
    spent."""

    wallet_id: UUID = Field(strict=False)
    points: Annotated[int, Field(ge=-MOST_POINTS, le=MOST_POINTS)]
    expires_at: Moment | None = None


class AdjustmentBody(Body):
    """Several items are one bulk adjustment: posted whole, by two persons. `reason` is a code of the programme's list."""

    programme: Code
    items: Annotated[list[ItemBody], Field(min_length=1, max_length=500)]
    reason: Code
    evidence: EvidenceBody


class DecisionBody(Body):
    """A word about it; keep personal data out of it."""

    note: Note | None = None


class EvidenceOut(BaseModel):
    reference: str
    sha256: str | None


class ItemOut(BaseModel):
    """`posting_id`: of its lines in the ledger, once it is posted. Points below zero are taken."""

    posting_id: UUID | None
    wallet_id: UUID
    adjusted: WorthOut
    expires_at: AwareDatetime | None


class AdjustmentListedOut(BaseModel):
    """`second_person_above`: what the programme said when it was asked for."""

    adjustment_id: UUID
    programme: str
    status: AdjustmentState
    reason: str
    evidence: EvidenceOut
    second_person_above: WorthOut
    requested_by: str
    requested_at: AwareDatetime
    decided_by: str | None
    decided_at: AwareDatetime | None
    note: str | None
    wallets: int
    given: WorthOut
    taken: WorthOut


class AdjustmentOut(AdjustmentListedOut):
    items: list[ItemOut]


class AdjustmentsOut(BaseModel):
    items: list[AdjustmentListedOut]
    next_cursor: str | None


class AdjustmentPosition(msgspec.Struct):
    """The cursor of adjustments: the last one shown."""

    adjustment_id: UUID


@router.post(
    "",
    status_code=201,
    response_model=AdjustmentOut,
    responses={
        202: {"model": AdjustmentOut, "description": "Somebody else must decide"},
        **problems(
            "person_required", "not_found", "reason_unknown", "amount_out_of_range", "insufficient_points", "programme_unknown"
        ),
    },
)  # fmt: skip
async def request_adjustment(
    body: AdjustmentBody, call: Annotated[Write, writes("adjustments:request")]
) -> Response:
    """Gives points, or takes some: at once (201), or once another person has approved it (202). What was posted to the wallet
    within 24 hours without a second person counts towards the threshold."""
    call.principal.person()
    adjustment_id = uuid7()
    command = Adjust(
        adjustment_id=adjustment_id,
        programme=body.programme,
        parts=tuple(
            Part(posting_id=uuid7(), wallet_id=one.wallet_id, points=one.points, expires_at=one.expires_at)
            for one in body.items
        ),
        reason=body.reason,
        evidence=body.evidence.evidence(),
    )
    return await call.submit(command)


@router.get("", response_model=AdjustmentsOut)
async def list_adjustments(
    call: Annotated[Read, reads("adjustments:read")],
    state: Annotated[AdjustmentState | None, Query(description="Without it: all.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Adjustments, the newest first; `state=pending` are those that somebody must decide about."""
    position = decode_cursor(cursor, AdjustmentPosition)
    before = position.adjustment_id if position is not None else _NEWEST
    async with call.tenant.read() as db:
        found = await adjustments.newest(db, state=state, before=before, most=limit + 1)
        values = await _values(db, call.tenant, found[:limit])
    shown = [adjustment_out(one, value, whole=False) for one, value in zip(found, values, strict=False)]
    return page(shown, AdjustmentPosition(found[limit - 1].adjustment_id) if len(found) > limit else None)


@router.get("/{adjustment_id}", response_model=AdjustmentOut, responses=problems("not_found"))
async def get_adjustment(adjustment_id: UUID, call: Annotated[Read, reads("adjustments:read")]) -> Response:
    """An adjustment with its items."""
    async with call.tenant.read() as db:
        found = await adjustments.find(db, adjustment_id)
        if found is None:
            raise NotFound("There is no such adjustment.")
        [value] = await _values(db, call.tenant, [found])
    return answer(adjustment_out(found, value))


@router.post(
    "/{adjustment_id}/approve",
    response_model=AdjustmentOut,
    responses=problems(
        "person_required",
        "mfa_required",
        "not_found",
        "own_request",
        "adjustment_decided",
        "amount_out_of_range",
        "insufficient_points",
    ),
)
async def approve_adjustment(
    adjustment_id: UUID,
    call: Annotated[Write, writes("adjustments:approve")],
    body: DecisionBody | None = None,
) -> Response:
    """Posts a pending adjustment whole, as its wallets are at this moment. Takes another person than asked for it, with a second
    factor. Where a wallet does not have the points any more it is refused, and stays pending."""
    return await _decide(adjustment_id, call, body, approve=True)


@router.post(
    "/{adjustment_id}/reject",
    response_model=AdjustmentOut,
    responses=problems("person_required", "mfa_required", "not_found", "own_request", "adjustment_decided"),
)
async def reject_adjustment(
    adjustment_id: UUID,
    call: Annotated[Write, writes("adjustments:approve")],
    body: DecisionBody | None = None,
) -> Response:
    """Ends a pending adjustment without posting anything."""
    return await _decide(adjustment_id, call, body, approve=False)


async def _decide(adjustment_id: UUID, call: Write, body: DecisionBody | None, *, approve: bool) -> Response:
    call.principal.with_second_factor()
    note = body.note if body is not None else None
    return await call.submit(DecideAdjustment(adjustment_id=adjustment_id, approve=approve, note=note))


async def _values(
    db: Connection, tenant: TenantRuntime, shown: Sequence[Adjustment]
) -> list[CompiledProgramme]:
    """What each is worth: while it waits as it would post now, once it was decided as was said of it then. One that nobody had to
    decide about keeps its version."""
    by_two = [one for one in shown if one.state == "pending" or one.decided_at is not None]
    found = await versions.active_at(db, tenant.cache, [(one.programme, one.decided_at) for one in by_two])
    values = {one.adjustment_id: value for one, value in zip(by_two, found, strict=True)}
    return [values.get(one.adjustment_id) or await versions.promised(db, tenant.cache, one) for one in shown]
