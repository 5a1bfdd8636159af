"""Spending points at a merchant, at once or later."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from typing import Annotated, Literal, Self
from uuid import UUID

import msgspec
from pydantic import AwareDatetime, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from services.redeem.api import pins
from services.redeem.api.bodies import BillCategories, MemberBody, MoneyBody, Reference
from services.redeem.api.gift_card_shapes import GiftCardOut
from services.redeem.api.sealing import open_code, seal_code, with_benefit_code
from services.redeem.api.shapes import BucketsOut, WorthOut
from services.redeem.domain.codes import code_hash, new_code
from services.redeem.domain.giftcards.acts import Draft
from services.redeem.domain.redemption import Capture, Redeem, Return, Void
from services.redeem.domain.rewards import Code as FreshCode
from services.redeem.domain.rewards import RedeemReward
from services.redeem.domain.spending import MOST_POINTS
from services.redeem.store import rewards
from shared.http.bodies import Body
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes
from shared.identity import identify
from shared.messaging import Done, Outcome, Refused
from shared.money import Money
from shared.programme.model import Code
from shared.shapes import Channel

PATIENCE_S = 1.0
"""How long a redemption waits for word of a member, merchant or programme that another service may be telling of just now."""

_PAUSES_S = (0.02, 0.05, 0.1, 0.2)

router = Router(prefix="/v1/redemptions", tags=["redemptions"])


class RedemptionBody(Body):
    """Exactly one of `points`, `money` and `reward`. Money takes the points that are worth it, rounded up; a reward takes its
    price at the member's tier, and with `capture: later` one of it is set aside."""

    programme: Code
    member: MemberBody
    points: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = None
    money: MoneyBody | None = None
    reward: Code | None = None
    merchant: Code
    terminal: Code | None = None
    cashier: Code | None = None
    channel: Channel | None = None
    bill_ref: Reference | None = None
    capture: Literal["now", "later"] = "now"
    bill_total_minor: Annotated[int, Field(ge=0, le=10**12)] | None = Field(
        None, description="What the whole bill comes to: wanted where points may pay for a share of it only."
    )
    bill_categories: BillCategories | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        given = [one for one in (self.points, self.money, self.reward) if one is not None]
        if not given:
            raise PydanticCustomError("field_missing", "One of points, money, reward is wanted.")
        if len(given) > 1:
            raise PydanticCustomError("field_unknown", "Only one of points, money, reward is wanted.")
        return self


class IssuedOut(BaseModel):
    """What a reward gave: used once, by its `code`. Show that to the member alone; it is told here and nowhere else."""

    benefit_id: UUID
    reward: str
    version: int
    kind: str
    name: dict[str, str]
    expires_at: AwareDatetime | None
    code: str | None = Field(None, description="None of a gift card: that is used by its serial and PIN.")


class BoughtGiftCardOut(GiftCardOut):
    """The gift card that points bought, active. `pin` stands in the first answer alone: a repeat has null. Who lost it returns
    the card,
    unused, and buys another."""

    pin: str | None


class RedemptionOut(BaseModel):
    """`redeemed.money` is what the points paid for: the amount asked for, if it was an amount. `benefit`: what a reward gave, and
    `gift_card` where that is one."""

    redemption_id: UUID
    status: Literal["captured"]
    programme: str
    wallet_id: UUID
    effective_at: AwareDatetime
    redeemed: WorthOut
    balance: BucketsOut
    benefit: IssuedOut | None = None
    gift_card: BoughtGiftCardOut | None = None


class AuthorisationOut(BaseModel):
    """Points set aside until `expires_at`; at that instant they can't be captured any more. `code` names the redemption at a
    till of this merchant: show it to the member alone."""

    redemption_id: UUID
    status: Literal["authorised"]
    programme: str
    wallet_id: UUID
    effective_at: AwareDatetime
    expires_at: AwareDatetime
    code: str
    reserved: WorthOut
    balance: BucketsOut


class CaptureBody(Body):
    """At most one of `points` and `money`; without either all that is set aside. The rest goes back to its lots."""

    points: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = None
    money: MoneyBody | None = None
    terminal: Code | None = None
    cashier: Code | None = None
    bill_ref: Reference | None = None

    @model_validator(mode="after")
    def _points_or_money(self) -> Self:
        if self.points is not None and self.money is not None:
            raise PydanticCustomError("field_unknown", "Only one of points, money is wanted.")
        return self


class SettledOut(BaseModel):
    """What was spent of what was set aside, and what went back. `expired`: what of that expired as it went back, for the expiry of
    its lot had passed meanwhile. `returned`: what of the spent came back at once, for its bill had been refunded before."""

    redemption_id: UUID
    status: Literal["captured", "voided"]
    programme: str
    wallet_id: UUID
    effective_at: AwareDatetime
    redeemed: WorthOut
    voided: WorthOut
    expired: WorthOut
    balance: BucketsOut
    returned: WorthOut | None = None
    benefit: IssuedOut | None = Field(None, description="What a reward gave, of a capture.")


@router.post(
    "",
    status_code=201,
    response_model=RedemptionOut | AuthorisationOut,
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
        "programme_closed",
        "wallet_blocked",
        "tier_not_eligible",
        "velocity_exceeded",
        "points_not_accepted",
        "bill_categories_required",
        "bill_total_required",
        "bill_share_exceeded",
        "period_limit_exceeded",
        "reward_unknown",
        "reward_unavailable",
        "reward_sold_out",
        "reward_limit_reached",
        "gift_card_not_offered",
        "rate_limited",
    ),
)
async def redeem(
    body: RedemptionBody, call: Annotated[Write, writes("redemptions:write", one_merchant="own")]
) -> Response:
    """Spends points at a merchant, or sets them aside for a capture later: in the programme's order of lots, never more than there
    are."""
    call.principal.at_merchant(body.merchant)
    key = call.tenant.tenant.identity_key
    identity = identify(key, vars(body.member))
    member_id = UUID(body.member.member_id) if body.member.member_id is not None else None
    command: Redeem | RedeemReward
    if body.reward is not None:
        command = RedeemReward(
            programme=body.programme,
            member_id=member_id,
            identity_kind=identity.kind,
            identity_hash=identity.hash,
            reward=body.reward,
            merchant=body.merchant,
            terminal=body.terminal,
            cashier=body.cashier,
            channel=body.channel,
            bill_ref=body.bill_ref,
            patient=True,
            code=_fresh_code(key) if body.capture == "later" else None,
        )
        drafts = await _drafts(call, body.programme, body.reward)
        command = msgspec.structs.replace(command, draft=next(iter(drafts), None))
        outcome = await _patiently(call, command, body.terminal)
        if command.code is not None and isinstance(outcome, Done):
            return call.answer(dataclasses.replace(outcome, body=open_code(key, outcome.body)))
        return call.answer(pins.with_pin(with_benefit_code(key, outcome), drafts))
    command = Redeem(
        programme=body.programme,
        member_id=member_id,
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
        code=_fresh_code(key) if body.capture == "later" else None,
        bill_total_minor=body.bill_total_minor,
        bill_categories=tuple(body.bill_categories.items()) if body.bill_categories is not None else None,
    )
    outcome = await _patiently(call, command, body.terminal)
    if command.code is not None and isinstance(outcome, Done):
        outcome = dataclasses.replace(outcome, body=open_code(key, outcome.body))
    return call.answer(outcome)


async def _drafts(call: Write, programme: str, reward: str) -> dict[Draft, str]:
    """A gift card to be issued, with its PIN, where the reward is one."""
    async with call.tenant.read() as db:
        found = (await rewards.named(db, [(programme, reward)])).get((programme, reward))
    return await pins.drafts(call.tenant, 1) if found is not None and found.reward.loads is not None else {}


async def _patiently(call: Write, command: Redeem | RedeemReward, terminal: str | None) -> Outcome:
    """What is unknown here may be on its way: a card issued a moment ago must be good at the till. The last word is frozen."""
    deadline = time.monotonic() + PATIENCE_S
    pauses = itertools.chain(_PAUSES_S, itertools.repeat(_PAUSES_S[-1]))
    outcome = await call.outcome(command, terminal=terminal)
    while isinstance(outcome, Refused) and not outcome.refusal.frozen and command.patient:
        await asyncio.sleep(next(pauses))
        command = msgspec.structs.replace(command, patient=time.monotonic() < deadline)
        outcome = await call.outcome(command, terminal=terminal)
    return outcome


CAPTURE_REFUSALS = (
    "redemption_captured",
    "redemption_voided",
    "authorisation_expired",
    "wallet_blocked",
    "points_not_accepted",
    "bill_share_exceeded",
    "amount_out_of_range",
    "currency_mismatch",
    "terminal_unknown",
)


class ReturnBody(Body):
    """Exactly one of `points`, `money` and `all`. `return_ref` is your own: the same return under it again is answered again."""

    return_ref: Reference
    points: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = None
    money: MoneyBody | None = None
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        given = [one for one in (self.points, self.money, self.all) if one is not None]
        if not given:
            raise PydanticCustomError("field_missing", "One of points, money, all is wanted.")
        if len(given) > 1:
            raise PydanticCustomError("field_unknown", "Only one of points, money, all is wanted.")
        return self


class ReturnOut(BaseModel):
    """What came back, to the very lots it was taken from, and in all by now. `expired`: what of it expired at once, for its lot
    had. A return of less than a point's worth counts towards the next one."""

    return_id: UUID
    redemption_id: UUID
    return_ref: str
    programme: str
    wallet_id: UUID
    effective_at: AwareDatetime
    returned: WorthOut
    returned_in_all: WorthOut
    expired: WorthOut
    balance: BucketsOut


@router.post(
    "/{redemption_id}/capture",
    response_model=SettledOut,
    responses=problems("not_found", *CAPTURE_REFUSALS),
)
async def capture(
    redemption_id: UUID,
    call: Annotated[Write, writes("redemptions:write", one_merchant="own")],
    body: CaptureBody | None = None,
) -> Response:
    """Spends points that were set aside, once and before their time is over: all of them, or so many."""
    outcome = await call.outcome(
        captured(body or CaptureBody(), redemption_id=redemption_id, merchant=call.principal.merchant),
        terminal=body.terminal if body is not None else None,
    )
    return call.answer(with_benefit_code(call.tenant.tenant.identity_key, outcome))


@router.post(
    "/{redemption_id}/void",
    response_model=SettledOut,
    responses=problems("not_found", "redemption_captured", "redemption_voided", "authorisation_expired"),
)
async def void(
    redemption_id: UUID, call: Annotated[Write, writes("redemptions:write", one_merchant="own")]
) -> Response:
    """Gives each lot back what was set aside of it, with its own expiry."""
    return await call.submit(Void(redemption_id=redemption_id, merchant=call.principal.merchant))


@router.post(
    "/{redemption_id}/returns",
    status_code=201,
    response_model=ReturnOut,
    responses={
        200: {"model": ReturnOut, "description": "The same return was made before: its first answer"},
        **problems(
            "not_found",
            "redemption_not_captured",
            "return_window_closed",
            "return_too_much",
            "reward_not_returnable",
            "benefit_consumed",
            "benefit_expired",
            "benefit_withdrawn",
            "gift_card_blocked",
            "gift_card_expired",
            "return_conflict",
            "currency_mismatch",
        ),
    },
)
async def give_back(
    redemption_id: UUID,
    body: ReturnBody,
    call: Annotated[Write, writes("redemptions:write", one_merchant="own")],
) -> Response:
    """Returns points of a captured redemption, whole or in part, within the programme's window. A return whose reference is
    known is answered with 200 and the first answer."""
    command = Return(
        redemption_id=redemption_id,
        return_ref=body.return_ref,
        points=body.points,
        money=Money(body.money.amount_minor, body.money.currency) if body.money is not None else None,
        whole=body.all is not None,
        merchant=call.principal.merchant,
    )
    return await call.submit(command)


def captured(
    body: CaptureBody,
    *,
    redemption_id: UUID | None = None,
    code_hash: bytes | None = None,
    merchant: str | None,
) -> Capture:
    """A capture as it was asked, of a redemption named by its id or its code; at that merchant, if one is given."""
    return Capture(
        redemption_id=redemption_id,
        code_hash=code_hash,
        merchant=merchant,
        points=body.points,
        money=Money(body.money.amount_minor, body.money.currency) if body.money is not None else None,
        terminal=body.terminal,
        cashier=body.cashier,
        bill_ref=body.bill_ref,
    )


def _fresh_code(key: bytes) -> FreshCode:
    code = new_code()
    return FreshCode(code_hash(key, code), seal_code(key, code))
