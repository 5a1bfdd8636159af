"""Acts besides bills over HTTP: recorded once, looked up, and explained."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import Body as FromBody
from pydantic import BaseModel
from starlette.responses import Response

from services.earn.api.bills import AccrualOut, JudgementOut
from services.earn.domain.acts.act import ActBody, by_principal, command_of
from services.earn.domain.acts.answer import answer_body
from services.earn.domain.acts.judge import ActDecision
from services.earn.domain.acts.words import words
from services.earn.store import acts as store
from shared.errors import NotFound
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes

router = Router(prefix="/v1/acts", tags=["acts"])


class ActOut(BaseModel):
    """What became of an act."""

    act_id: UUID
    status: Literal["earned", "nothing", "waiting", "unclaimed"]
    act: str
    act_ref: str
    merchant: str | None
    occurred_at: datetime
    accruals: list[AccrualOut]


class ActWhyOut(BaseModel):
    """Every decision about an act, in their order; the last one stands."""

    act_id: UUID
    judgements: list[JudgementOut]


class _Judgement(msgspec.Struct):
    n: int
    decided_at: datetime
    status: str
    words: list[str]
    decision: ActDecision


class _Why(msgspec.Struct):
    act_id: UUID
    judgements: list[_Judgement]


class _Answered(msgspec.Struct):
    act_id: UUID


@router.post(
    "",
    status_code=201,
    response_model=ActOut,
    responses={
        200: {"model": ActOut, "description": "The same act was recorded before: its first answer"},
        202: {
            "model": ActOut,
            "description": "Recorded; it waits for what is not known yet",
            "headers": {
                "Location": {"description": "Where the act can be asked for.", "schema": {"type": "string"}}
            },
        },
        **problems(
            "act_conflict",
            "act_unknown",
            "programme_closed",
            "act_data_invalid",
            "amount_out_of_range",
            "occurred_in_future",
            "occurred_too_early",
            "card_check_digit",
            "identity_ambiguous",
            "identity_malformed",
        ),
    },
)
async def record_act(
    act: Annotated[ActBody, FromBody()], call: Annotated[Write, writes("bills:write", one_merchant="own")]
) -> Response:
    """Records an act that a programme declares to earn: a survey, a visit, whatever it names. An act with the same reference,
    of the same merchant or else of the same caller, is answered as the first time."""
    call.principal.at_merchant(act.merchant)
    command = command_of(act, call.tenant.tenant.identity_key, told_by=by_principal(call.principal.subject))
    response = await call.submit(command)
    if response.status_code == 202:
        act_id = msgspec.json.decode(response.body, type=_Answered).act_id
        response.headers["Location"] = f"/v1/acts/{act_id}"
    return response


@router.get("/{act_id}", response_model=ActOut, responses=problems("not_found"))
async def get_act(act_id: UUID, call: Annotated[Read, reads("bills:read", one_merchant="own")]) -> Response:
    """The act as it was decided last."""
    row, decided = await _act(call, act_id)
    return Response(answer_body(act_id, row, decided[-1].decision), media_type="application/json")


@router.get("/{act_id}/why", response_model=ActWhyOut, responses=problems("not_found"))
async def why_act(act_id: UUID, call: Annotated[Read, reads("bills:read", one_merchant="own")]) -> Response:
    """Why the act earned what it earned: the declaration and inputs as they were, whatever has changed since."""
    _, decided = await _act(call, act_id)
    async with call.tenant.read() as db:
        told = await store.conditions_of(db, [one.decision for one in decided], call.tenant.cache)
    made = [
        _Judgement(one.n, one.decided_at, one.decision.status, words(one.decision, told), one.decision)
        for one in decided
    ]
    return answer(_Why(act_id, made))


async def _act(call: Read, act_id: UUID) -> tuple[Any, list[store.Judgement]]:
    async with call.tenant.read() as db:
        row = await store.act_by_id(db, act_id)
        if row is None or not call.principal.sees(row["merchant"]):
            raise NotFound("There is no such act.")
        return row, await store.decisions_of(db, act_id)
