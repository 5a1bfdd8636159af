"""Bills over HTTP: recorded once, looked up, and explained."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import Body as FromBody
from fastapi import Query
from pydantic import BaseModel
from starlette.responses import Response

from services.earn.domain.answer import BillAnswer, answer_of
from services.earn.domain.bill import read_bill, stored_lines
from services.earn.domain.body import BillBody
from services.earn.domain.decision import Decision
from services.earn.domain.words import words
from services.earn.store import bills
from services.earn.store.facts import conditions_of
from shared.errors import FieldMissing, FieldUnknown, NotFound
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes

router = Router(prefix="/v1/bills", tags=["bills"])


class MoneyOut(BaseModel):
    amount_minor: int
    currency: str


class WorthOut(BaseModel):
    """Points with what they are worth."""

    points: int
    money: MoneyOut


class AccrualOut(BaseModel):
    """What the bill is worth in one programme. `tier`: the one that it was judged at."""

    programme: str
    programme_version: int
    wallet_id: UUID
    tier: str | None
    available: WorthOut
    held: WorthOut


class BillOut(BaseModel):
    """What became of a bill."""

    bill_id: UUID
    status: Literal["earned", "held", "mixed", "nothing", "anonymous", "waiting", "unclaimed"]
    merchant: str
    bill_ref: str
    occurred_at: datetime
    accruals: list[AccrualOut]


class BillsOut(BaseModel):
    """A page of bills, newest first."""

    items: list[BillOut]
    next_cursor: str | None


class JudgementOut(BaseModel):
    """One decision: when, in words, and with every input and number."""

    n: int
    decided_at: datetime
    status: str
    words: list[str]
    decision: dict[str, Any]


class WhyOut(BaseModel):
    """Every decision about a bill, in their order; the last one stands."""

    bill_id: UUID
    judgements: list[JudgementOut]


class _Position(msgspec.Struct):
    before: UUID


class _Judgement(msgspec.Struct):
    n: int
    decided_at: datetime
    status: str
    words: list[str]
    decision: Decision


class _Answered(msgspec.Struct):
    bill_id: UUID


class _Why(msgspec.Struct):
    bill_id: UUID
    judgements: list[_Judgement]


@router.post(
    "",
    status_code=201,
    response_model=BillOut,
    responses={
        200: {"model": BillOut, "description": "The same bill was recorded before: its first answer"},
        202: {
            "model": BillOut,
            "description": "Recorded; it waits for what is not known yet",
            "headers": {
                "Location": {"description": "Where the bill can be asked for.", "schema": {"type": "string"}}
            },
        },
        **problems(
            "bill_conflict",
            "amount_out_of_range",
            "total_mismatch",
            "currency_mismatch",
            "occurred_in_future",
            "occurred_too_early",
            "terminal_unknown",
            "programme_closed",
            "card_check_digit",
            "identity_ambiguous",
            "identity_malformed",
        ),
    },
)
async def record_bill(
    bill: Annotated[BillBody, FromBody()], call: Annotated[Write, writes("bills:write", one_merchant="own")]
) -> Response:
    """Records a bill. Its points follow; a bill with the same merchant and reference is answered as the first time."""
    call.principal.at_merchant(bill.merchant)
    written = bill.model_dump_json(exclude_none=True).encode()
    command = read_bill(written, call.tenant.tenant.identity_key)
    response = await call.submit(command, terminal=bill.terminal)
    if response.status_code == 202:
        # RFC 9110 15.3.3: what becomes of it is seen there.
        response.headers["Location"] = f"/v1/bills/{_bill_id(response.body)}"
    return response


@router.get("", response_model=BillOut | BillsOut, responses=problems("not_found", "field_missing"))
async def find_bills(
    call: Annotated[Read, reads("bills:read", one_merchant="own")],
    merchant: Annotated[str | None, Query(max_length=64)] = None,
    bill_ref: Annotated[str | None, Query(max_length=128)] = None,
    wallet_id: UUID | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The bill with this merchant and bill_ref; or by wallet_id the bills that it was judged for, newest first: with `merchant`
    those of that one."""
    if wallet_id is not None:
        if bill_ref is not None:
            raise FieldUnknown("Ask by bill_ref, or by wallet_id.", pointer="/bill_ref")
        if merchant is not None:
            call.principal.at_merchant(merchant)
        return await _bills_of_wallet(
            call, wallet_id, call.principal.merchant if merchant is None else merchant, cursor, limit
        )
    if merchant is None or bill_ref is None:
        missing = "/merchant" if merchant is None else "/bill_ref"
        raise FieldMissing("Ask by merchant and bill_ref, or by wallet_id.", pointer=missing)
    call.principal.at_merchant(merchant)
    async with call.tenant.read() as db:
        row = await bills.bill_by_ref(db, merchant, bill_ref)
        decided = await bills.decisions_of(db, row) if row is not None else []
    if row is None:
        raise NotFound("There is no such bill.")
    return answer(_told(row, decided[-1].decision))


async def _bills_of_wallet(
    call: Read, wallet_id: UUID, merchant: str | None, cursor: str | None, limit: int
) -> Response:
    position = decode_cursor(cursor, _Position)
    async with call.tenant.read() as db:
        rows = await bills.bills_of_wallet(
            db,
            wallet_id,
            merchant=merchant,
            before=None if position is None else position.before,
            most=limit + 1,
        )
    shown = rows[:limit]
    more = _Position(shown[-1][0]["bill_id"]) if len(rows) > limit else None
    return page([_told(row, decision) for row, decision in shown], more)


@router.get("/{bill_id}", response_model=BillOut, responses=problems("not_found"))
async def get_bill(bill_id: UUID, call: Annotated[Read, reads("bills:read", one_merchant="own")]) -> Response:
    """The bill as it was decided last."""
    row, decided = await _bill(call, bill_id)
    return answer(_told(row, decided[-1].decision))


@router.get("/{bill_id}/why", response_model=WhyOut, responses=problems("not_found"))
async def why(bill_id: UUID, call: Annotated[Read, reads("bills:read", one_merchant="own")]) -> Response:
    """Why the bill earned what it earned: the rules and inputs as they were, whatever has changed since."""
    row, decided = await _bill(call, bill_id)
    async with call.tenant.read() as db:
        told = await conditions_of(db, [one.decision for one in decided], call.tenant.cache)
    line_ids = [line.line_id for line in stored_lines(row["lines"])]
    return answer(
        _Why(
            bill_id,
            [
                _Judgement(
                    one.n,
                    one.decided_at,
                    one.decision.status,
                    words(
                        one.decision,
                        line_ids=line_ids,
                        total_minor=row["total_minor"],
                        currency=row["currency"],
                        told=told,
                        identity_kind=row["identity_kind"],
                    ),
                    one.decision,
                )
                for one in decided
            ],
        )
    )


def _bill_id(body: bytes | memoryview) -> UUID:
    return msgspec.json.decode(body, type=_Answered).bill_id


async def _bill(call: Read, bill_id: UUID) -> tuple[Any, list[bills.Judgement]]:
    async with call.tenant.read() as db:
        row = await bills.bill_by_id(db, bill_id)
        if row is None or not call.principal.sees(row["merchant"]):
            raise NotFound("There is no such bill.")
        return row, await bills.decisions_of(db, row)


def _told(row: Any, decision: Decision) -> BillAnswer:
    return answer_of(
        row["bill_id"],
        merchant=row["merchant"],
        bill_ref=row["bill_ref"],
        occurred_at=row["occurred_at"],
        decision=decision,
    )
