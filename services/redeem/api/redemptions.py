"""Spending points over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Annotated, Literal, Self
from uuid import UUID

import msgspec
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from services.redeem.api.shapes import BucketsOut, WorthOut
from services.redeem.domain.redemption import Redeem
from services.redeem.domain.spending import MOST_POINTS
from shared.http.bodies import Body
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes
from shared.identity import identify
from shared.messaging import Refused
from shared.money import Money
from shared.programme.model import Code

PATIENCE_S = 1.0
"""How long a redemption waits for word of a member, merchant or programme that another service may be telling of just now."""

_PAUSES_S = (0.02, 0.05, 0.1, 0.2)

Reference = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Channel = Literal["store", "ecom", "app", "kiosk", "call_center", "partner"]

router = Router(prefix="/v1/redemptions", tags=["redemptions"])


class MoneyBody(Body):
    """An amount that is paid with points."""

    amount_minor: Annotated[int, Field(ge=1, le=10**12)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class MemberBody(Body):
    """Exactly one identity."""

    member_id: str | None = None
    card_id: str | None = None
    card_number: str | None = None
    mobile: str | None = None
    email: str | None = None
    external_id: str | None = None


class RedemptionBody(Body):
    """Exactly one of `points` and `money`. Money takes the points that are worth it, rounded up."""

    programme: Code
    member: MemberBody
    points: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = None
    money: MoneyBody | None = None
    merchant: Code
    terminal: Code | None = None
    cashier: Code | None = None
    channel: Channel | None = None
    bill_ref: Reference | None = None
    capture: Literal["now"] = "now"

    @model_validator(mode="after")
    def _points_or_money(self) -> Self:
        if self.points is None and self.money is None:
            raise PydanticCustomError("field_missing", "One of points, money is wanted.")
        if self.points is not None and self.money is not None:
            raise PydanticCustomError("field_unknown", "Only one of points, money is wanted.")
        return self


class RedemptionOut(BaseModel):
    """`redeemed.money` is what the points paid for: the amount asked for, if it was an amount."""

    redemption_id: UUID
    status: Literal["captured"]
    programme: str
    wallet_id: UUID
    effective_at: AwareDatetime
    redeemed: WorthOut
    balance: BucketsOut


@router.post(
    "",
    status_code=201,
    response_model=RedemptionOut,
    responses=problems(
        "programme_unknown",
        "merchant_unknown",
        "terminal_unknown",
        "member_unknown",
        "identity_ambiguous",
        "identity_malformed",
        "card_check_digit",
        "amount_out_of_range",
        "currency_mismatch",
        "insufficient_points",
        "wallet_blocked",
    ),
)
async def redeem(body: RedemptionBody, call: Annotated[Write, writes("redemptions:write")]) -> Response:
    """Spends points at a merchant, at once: in the programme's order of lots, never more than there are."""
    call.principal.at_merchant(body.merchant)
    identity = identify(call.tenant.tenant.identity_key, body.member.model_dump())
    command = Redeem(
        programme=body.programme,
        member_id=UUID(body.member.member_id) if body.member.member_id is not None else None,
        identity_kind=identity.kind,
        identity_hash=identity.hash,
        points=body.points,
        money=Money(body.money.amount_minor, body.money.currency) if body.money is not None else None,
        merchant=body.merchant,
        terminal=body.terminal,
        cashier=body.cashier,
        channel=body.channel,
        bill_ref=body.bill_ref,
        patient=True,
    )
    # What is unknown here may be on its way: a card issued a moment ago must be good at the till. The last word is frozen.
    deadline = time.monotonic() + PATIENCE_S
    pauses = itertools.chain(_PAUSES_S, itertools.repeat(_PAUSES_S[-1]))
    outcome = await call.outcome(command, terminal=body.terminal)
    while isinstance(outcome, Refused) and not outcome.refusal.frozen and command.patient:
        await asyncio.sleep(next(pauses))
        command = msgspec.structs.replace(command, patient=time.monotonic() < deadline)
        outcome = await call.outcome(command, terminal=body.terminal)
    return call.answer(outcome)
