"""Refunds over HTTP: recorded once, followed until the bank has answered, and listed while they are open."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import Body as FromBody
from fastapi.requests import Request
from pydantic import BaseModel
from starlette.responses import Response

from services.earn.api.bills import WorthOut
from services.earn.domain.refund_answer import body_of
from services.earn.domain.refund_body import BillRefundBody, RecordRefund, RefundBody, command_of
from services.earn.store import refunds as store
from shared.errors import NotFound
from shared.http.cursors import Cursor, Limit, decode_cursor, page
from shared.http.openapi import problems
from shared.http.prefer import Waiters, preferred_wait_s
from shared.http.routing import Router
from shared.http.runtime import TenantRuntime
from shared.http.writes import Read, Write, reads, writes

router = Router(prefix="/v1", tags=["refunds"])


class ReversalOut(BaseModel):
    """What the refund did to one wallet: taken from the available, from the held; given back of what had paid; what was
    spent and stays so; what became debt; what had expired by then."""

    programme: str
    wallet_id: UUID
    reversed: WorthOut
    hold_cancelled: WorthOut
    returned: WorthOut
    shortfall: WorthOut
    owed: WorthOut
    lapsed: WorthOut


class RefundOut(BaseModel):
    """What became of a refund. `bill_id` and `refunded_minor` are null while the bill has not come; `code` and `detail` say
    why points were not moved. The money of the refund is the till's business, and never stopped."""

    refund_id: UUID
    bill_id: UUID | None
    refund_ref: str
    status: Literal["pending", "completed", "refused", "waiting_for_bill"]
    refunded_minor: int | None
    currency: str
    reversals: list[ReversalOut]
    code: str | None = None
    detail: str | None = None


class OpenRefundOut(BaseModel):
    """A refund that is not closed. `asked_at`: when the bank was asked last, `times` how often."""

    refund_id: UUID
    merchant: str
    refund_ref: str
    bill_ref: str
    bill_id: UUID | None
    status: Literal["waiting_for_bill", "queued", "pending"]
    recorded_at: datetime
    asked_at: datetime | None
    times: int


class OpenRefundsOut(BaseModel):
    """A page of refunds that are not closed, oldest first."""

    items: list[OpenRefundOut]
    next_cursor: str | None


class _Answered(msgspec.Struct):
    refund_id: UUID
    status: str


class _Position(msgspec.Struct):
    after: UUID


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": RefundOut, "description": "The same refund was recorded before: as it stands now"},
    202: {
        "model": RefundOut,
        "description": "Recorded; the bank, or its bill, is waited for. `Prefer: wait=<seconds>` holds the call until then",
        "headers": {
            "Location": {"description": "Where the refund can be asked for.", "schema": {"type": "string"}}
        },
    },
}
_REFUSALS = (
    "refund_conflict",
    "refund_exceeds_bill",
    "currency_mismatch",
    "merchant_mismatch",
    "line_unknown",
    "occurred_in_future",
    "occurred_too_early",
    "amount_out_of_range",
)


@router.post(
    "/refunds",
    status_code=201,
    response_model=RefundOut,
    responses={**_RESPONSES, **problems(*_REFUSALS)},
)
async def record_refund(
    refund: Annotated[RefundBody, FromBody()],
    call: Annotated[Write, writes("refunds:write", one_merchant="own")],
    request: Request,
) -> Response:
    """Records the refund of a bill by the bill's reference, also before the bill itself has come."""
    return await _record(call, request, command_of(refund))


@router.post(
    "/bills/{bill_id}/refunds",
    status_code=201,
    response_model=RefundOut,
    responses={**_RESPONSES, **problems("not_found", *_REFUSALS)},
)
async def refund_bill(
    bill_id: UUID,
    refund: Annotated[BillRefundBody, FromBody()],
    call: Annotated[Write, writes("refunds:write", one_merchant="own")],
    request: Request,
) -> Response:
    """Records a refund of this bill."""
    bounded = call.principal.merchant is not None
    return await _record(call, request, command_of(refund, bill_id=bill_id, bounded=bounded))


async def _record(call: Write, request: Request, command: RecordRefund) -> Response:
    call.principal.at_merchant(command.merchant)
    response = await call.submit(command, terminal=command.terminal)
    if response.status_code != 202:
        return response
    answered = msgspec.json.decode(response.body, type=_Answered)
    wait_s = preferred_wait_s(request)
    if wait_s and await _waiters(call.tenant).wait(answered.refund_id, seconds=wait_s):
        # The key's answer stays the first one; who waits is told what the row says.
        response = Response(await _body(call, answered.refund_id), 201, media_type="application/json")
    else:
        response.headers["Location"] = f"/v1/refunds/{answered.refund_id}"
    if wait_s:
        response.headers["Preference-Applied"] = f"wait={wait_s:.0f}"
    return response


def _waiters(tenant: TenantRuntime) -> Waiters:
    cache = tenant.cache
    if Waiters not in cache:

        async def closed(refund_ids: object) -> set[UUID]:
            async with tenant.read() as db:
                return await store.closed_refunds(db, refund_ids)  # type: ignore[arg-type]

        cache[Waiters] = Waiters(closed, store.refund_wake(cache))
    waiters = cache[Waiters]
    assert isinstance(waiters, Waiters)
    return waiters


async def _body(call: Read | Write, refund_id: UUID) -> bytes:
    async with call.tenant.read() as db:
        found = (await store.refunds_by_id(db, [refund_id])).get(refund_id)
    if found is None or not call.principal.sees(found.refund.merchant):
        raise NotFound("There is no such refund.")
    return body_of(found.refund)


@router.get("/refunds/{refund_id}", response_model=RefundOut, responses=problems("not_found"))
async def get_refund(
    refund_id: UUID, call: Annotated[Read, reads("bills:read", one_merchant="own")]
) -> Response:
    """The refund as it stands."""
    return Response(await _body(call, refund_id), media_type="application/json")


@router.get("/refunds", response_model=OpenRefundsOut)
async def open_refunds(
    call: Annotated[Read, reads("bills:read", one_merchant="own")], cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Refunds that are not closed, oldest first: those that wait for their bill, for another refund of it, or the bank."""
    position = decode_cursor(cursor, _Position)
    async with call.tenant.read() as db:
        rows = await store.open_page(
            db,
            after=None if position is None else position.after,
            merchant=call.principal.merchant,
            most=limit + 1,
        )
    shown = rows[:limit]
    more = _Position(shown[-1].refund_id) if len(rows) > limit else None
    return page([one._asdict() for one in shown], more)
