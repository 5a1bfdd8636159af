"""The HTTP side of reconciliation: running it, seeing what does not agree, and deciding about it."""

from __future__ import annotations

from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from services.redeem.api.portions import WITHIN_S, PortionBody, time_is_up, told
from services.redeem.domain.jobs import JobDone
from services.redeem.domain.reconciliation import DecideDifference, DifferenceState
from services.redeem.jobs.reconciling import ReconcilePlace
from services.redeem.jobs.reconciling_dry import DryPlace, would_reconcile_on
from services.redeem.jobs.reconciling_on_call import portion_on_call
from services.redeem.jobs.sealing import job_item
from services.redeem.store import reconciliation
from shared.http.bodies import Body
from shared.http.cursors import Cursor, Limit, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.runtime import TenantRuntime

router = Router(prefix="/v1/reconciliation", tags=["evidence"])

Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Numbers = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
_NEWEST = UUID(int=2**128 - 1)
_UNDECIDED: tuple[DifferenceState, ...] = ("open", "explained")


class RunBody(PortionBody):
    """`dry_run` tells what would be found. A step compares 200 wallets and gift cards (of a dry run 2,000, where no seal has them
    yet), the postings of a seal, or the accruals of a day. Each call of a run says `dry_run` alike."""

    within_s: Annotated[
        int,
        Field(
            ge=0,
            le=40,
            description="Seconds that it waits for the seal, which goes on meanwhile; no further step is begun after them.",
        ),
    ] = WITHIN_S


class FoundOut(BaseModel):
    kind: str
    subject: str
    expected: str
    found: str


class RunOut(BaseModel):
    """`days`: whose accruals were held against what earn told of them.
    `postings`: held against the events that tell of them.
    `found`: the first of what does not agree, of a dry run only; afterwards the differences have it.
    All of it of this call; `next_cursor` null: the run is over."""

    dry_run: bool
    wallets: int
    days: int
    postings: int
    differences: int
    found: list[FoundOut]
    next_cursor: str | None


class DifferenceOut(FoundOut):
    """`expected` is what the finer books come to: lines before buckets, buckets before lots; of accruals, what earn told; of
    events, what was posted."""

    difference_id: UUID
    first_seen: AwareDatetime
    last_seen: AwareDatetime
    owner: str | None
    state: DifferenceState
    reason: str | None


class DifferencesOut(BaseModel):
    items: list[DifferenceOut]
    next_cursor: str | None


class DecisionBody(Body):
    """Gives a difference to somebody (`owner`), or says what became of it (`state`, with a `reason`). `expected` and `found` as
    they were shown: where a run has found others since, nothing is decided (`difference_changed`)."""

    owner: Text | None = None
    state: DifferenceState | None = None
    reason: Text | None = None
    expected: Numbers | None = None
    found: Numbers | None = None

    @model_validator(mode="after")
    def _with_a_reason(self) -> Self:
        if self.owner is None and self.state is None:
            raise PydanticCustomError("field_missing", "One of owner, state is wanted.")
        if self.state not in {None, "open"} and self.reason is None:
            raise PydanticCustomError("field_missing", "A reason is wanted.")
        return self


class DifferencePosition(msgspec.Struct):
    """The cursor of differences: the last one shown."""

    difference_id: UUID


@router.post("/runs", response_model=RunOut)
async def reconcile(body: RunBody, call: Annotated[Write, writes("ops:write")]) -> Response:
    """Seals what is new, then compares every wallet that was sealed since the last run with its lines and lots, what was
    posted since with the events that tell of it, and the ledger with every day of accruals that was told: a portion of it. Where
    the seal takes longer than `within_s`, nothing is compared yet, and the next call waits on. Portions may be broken off,
    repeated, and made by two at once; what a broken one has done is not done again."""
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    over, found = time_is_up(body.within_s), list[Any]()
    following: ReconcilePlace | DryPlace | None
    if body.dry_run:
        done, untold, following = await would_reconcile_on(
            runtime.pool, decode_cursor(body.cursor, DryPlace), over
        )
        found = [one._asdict() for one in untold]
    else:
        item = msgspec.structs.replace(job_item(call.principal.subject), request_id=call.request_id)
        done, following = await portion_on_call(
            runtime, decode_cursor(body.cursor, ReconcilePlace), over, item=item, within_s=body.within_s
        )
    content = {
        "dry_run": body.dry_run,
        "wallets": done.wallets,
        "days": done.days,
        "postings": done.postings,
        "differences": done.differences,
        "found": found,
        "next_cursor": told(following),
    }
    return await call.submit(JobDone(200, msgspec.json.encode(content)))


@router.get("/differences", response_model=DifferencesOut)
async def list_differences(
    call: Annotated[Read, reads("audit:read", one_merchant="own")],
    state: Annotated[DifferenceState | None, Query(description="Without it: open and explained.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """What does not agree, the newest first. Nothing here is ever repaired by itself. A token of one merchant has what was counted
    there."""
    position = decode_cursor(cursor, DifferencePosition)
    before = position.difference_id if position is not None else _NEWEST
    async with call.tenant.read() as db:
        rows = await reconciliation.differences(
            db,
            states=_UNDECIDED if state is None else (state,),
            merchant=call.principal.merchant,
            before=before,
            most=limit + 1,
        )
    shown = [row._asdict() for row in rows[:limit]]
    return page(shown, DifferencePosition(rows[limit - 1].difference_id) if len(rows) > limit else None)


@router.post(
    "/differences/{difference_id}",
    response_model=DifferenceOut,
    responses=problems("person_required", "not_found", "difference_closed", "difference_changed"),
)
async def decide(
    difference_id: UUID, body: DecisionBody, call: Annotated[Write, writes("adjustments:approve")]
) -> Response:
    """Gives a difference to somebody, explains or closes it: a person does, and it is audited. The ledger is not changed by it."""
    call.principal.person()
    return await call.submit(
        DecideDifference(difference_id, body.owner, body.state, body.reason, body.expected, body.found)
    )
