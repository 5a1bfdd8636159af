"""Disputes of postings: opened with or without evidence, upheld or rejected by somebody else."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from services.redeem.api.adjustments import EvidenceBody, EvidenceOut, Note
from services.redeem.api.shapes import WorthOut
from services.redeem.domain.answers import dispute_out
from services.redeem.domain.disputes import DecideDispute, Dispute, DisputeState, OpenDispute
from services.redeem.domain.spending import MOST_POINTS
from services.redeem.store import disputes, versions
from shared.db import Connection
from shared.errors import NotFound
from shared.http.bodies import Body
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.runtime import TenantRuntime
from shared.http.writes import Read, Write, reads, writes
from shared.ids import uuid7
from shared.programme.model import Code

router = Router(prefix="/v1/disputes", tags=["disputes"])

_NEWEST = UUID(int=2**128 - 1)


class DisputeBody(Body):
    """`points`: what the posting's wallet should get (above zero) or lose (below zero) if it is upheld. `reason` is a code of your
    own."""

    posting_id: UUID = Field(strict=False)
    points: Annotated[int, Field(ge=-MOST_POINTS, le=MOST_POINTS)]
    reason: Code
    evidence: EvidenceBody | None = None


class UpholdBody(Body):
    """Evidence takes the place of what it was opened with. Keep personal data out of the note."""

    evidence: EvidenceBody | None = None
    note: Note | None = None


class RejectBody(Body):
    """A word about it; keep personal data out of it."""

    note: Note | None = None


class DisputeOut(BaseModel):
    """`adjustment_id`: the correction that an upheld one posted; `correction` below zero is taken."""

    dispute_id: UUID
    posting_id: UUID
    wallet_id: UUID
    programme: str
    status: DisputeState
    correction: WorthOut
    reason: str
    evidence: EvidenceOut | None
    opened_by: str
    opened_at: AwareDatetime
    decided_by: str | None
    decided_at: AwareDatetime | None
    note: str | None
    adjustment_id: UUID | None


class DisputesOut(BaseModel):
    items: list[DisputeOut]
    next_cursor: str | None


class DisputePosition(msgspec.Struct):
    """The cursor of disputes: the last one shown."""

    dispute_id: UUID


@router.post(
    "",
    status_code=201,
    response_model=DisputeOut,
    responses=problems(
        "person_required", "not_found", "amount_out_of_range", "dispute_exists", "programme_unknown"
    ),
)
async def open_dispute(body: DisputeBody, call: Annotated[Write, writes("adjustments:request")]) -> Response:
    """Says that a posting is wrong. A posting is disputed once at a time, and corrected once."""
    call.principal.person()
    command = OpenDispute(
        dispute_id=uuid7(),
        posting_id=body.posting_id,
        points=body.points,
        reason=body.reason,
        evidence=None if body.evidence is None else body.evidence.evidence(),
    )
    return await call.submit(command)


@router.get("", response_model=DisputesOut)
async def list_disputes(
    call: Annotated[Read, reads("adjustments:read")],
    state: Annotated[DisputeState | None, Query(description="Without it: all.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Disputes, the newest first."""
    position = decode_cursor(cursor, DisputePosition)
    before = position.dispute_id if position is not None else _NEWEST
    async with call.tenant.read() as db:
        found = await disputes.newest(db, state=state, before=before, most=limit + 1)
        shown = await _shown(db, call.tenant, found[:limit])
    return page(shown, DisputePosition(found[limit - 1].dispute_id) if len(found) > limit else None)


@router.get("/{dispute_id}", response_model=DisputeOut, responses=problems("not_found"))
async def get_dispute(dispute_id: UUID, call: Annotated[Read, reads("adjustments:read")]) -> Response:
    """A dispute, and what became of it."""
    async with call.tenant.read() as db:
        found = await disputes.find(db, dispute_id)
        if found is None:
            raise NotFound("There is no such dispute.")
        [shown] = await _shown(db, call.tenant, [found])
    return answer(shown)


@router.post(
    "/{dispute_id}/uphold",
    response_model=DisputeOut,
    responses=problems(
        "person_required",
        "mfa_required",
        "not_found",
        "own_request",
        "dispute_not_open",
        "evidence_missing",
        "amount_out_of_range",
        "insufficient_points",
    ),
)
async def uphold_dispute(
    dispute_id: UUID, call: Annotated[Write, writes("adjustments:approve")], body: UpholdBody | None = None
) -> Response:
    """Posts the correction, as an adjustment that names the dispute. Takes another person than opened it, with a second factor, and
    evidence: its reference and SHA-256."""
    call.principal.with_second_factor()
    given = body or UpholdBody()
    evidence = None if given.evidence is None else given.evidence.evidence()
    return await call.submit(
        DecideDispute(dispute_id=dispute_id, uphold=True, evidence=evidence, note=given.note)
    )


@router.post(
    "/{dispute_id}/reject",
    response_model=DisputeOut,
    responses=problems("person_required", "mfa_required", "not_found", "own_request", "dispute_not_open"),
)
async def reject_dispute(
    dispute_id: UUID, call: Annotated[Write, writes("adjustments:approve")], body: RejectBody | None = None
) -> Response:
    """Ends a dispute; nothing is posted, and the posting may be disputed again."""
    call.principal.with_second_factor()
    note = body.note if body is not None else None
    return await call.submit(DecideDispute(dispute_id=dispute_id, uphold=False, note=note))


async def _shown(db: Connection, tenant: TenantRuntime, found: list[Dispute]) -> list[dict[str, object]]:
    """What each correction is worth: while it is open as it would post now, once it was decided as was said of it then."""
    values = await versions.active_at(db, tenant.cache, [(one.programme, one.decided_at) for one in found])
    return [dispute_out(one, value) for one, value in zip(found, values, strict=True)]
