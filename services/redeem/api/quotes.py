"""What a redemption would take and cost, and how much could be spent at most: asked before anybody commits to it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from services.redeem.api.bodies import BillCategories, MemberBody, MoneyBody, Reference
from services.redeem.api.shapes import BucketsOut, WorthOut
from services.redeem.domain import limits, spending
from services.redeem.domain.quoting import quote
from services.redeem.domain.redemption import Redeem, missing
from services.redeem.domain.rewards import RewardUnknown, check_loads, standing_of
from services.redeem.domain.spending import MOST_POINTS
from services.redeem.store import limiting, quoting, rewards, thresholds, versions
from services.redeem.store.idle import note_idle
from shared.db import Connection
from shared.errors import ProgrammeClosed, Refusal
from shared.http.bodies import Body
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, reads
from shared.identity import identify
from shared.ids import uuid7
from shared.money import Money, Worth
from shared.programme.compiled import CompiledProgramme
from shared.programme.model import Code
from shared.shapes import Channel

router = Router(prefix="/v1/redemption-quotes", tags=["redemptions"])


class QuoteBody(Body):
    """As a redemption would be asked for; without `points`, `money` and `reward` only the most that could be spent is said."""

    programme: Code
    member: MemberBody
    points: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = None
    money: MoneyBody | None = None
    reward: Code | None = None
    merchant: Code
    terminal: Code | None = None
    channel: Channel | None = None
    bill_ref: Reference | None = None
    bill_total_minor: Annotated[int, Field(ge=0, le=10**12)] | None = None
    bill_categories: BillCategories | None = None

    @model_validator(mode="after")
    def _points_or_money(self) -> Self:
        if [self.points, self.money, self.reward].count(None) < 2:
            raise PydanticCustomError("field_unknown", "Only one of points, money, reward is wanted.")
        return self


class RefusalOut(BaseModel):
    """What the redemption would be refused with."""

    code: str
    detail: str


class TakenOut(BaseModel):
    """Points that would be taken from a lot."""

    lot_id: UUID
    points: int
    expires_at: AwareDatetime | None


class LimitOut(BaseModel):
    """The most that one limit leaves, under the code that it refuses with. `binding`: it is what keeps `most` from more."""

    code: str
    most: WorthOut
    binding: bool
    detail: str


class QuoteOut(BaseModel):
    """What would happen now; nothing is set aside. `redeemed` is null where nothing was asked, or what was asked has no price."""

    programme: str
    wallet_id: UUID
    at: AwareDatetime
    redeemed: WorthOut | None
    takes: list[TakenOut]
    refusal: RefusalOut | None
    most: WorthOut
    limits: list[LimitOut]
    balance: BucketsOut


@router.post(
    "",
    response_model=QuoteOut,
    responses=problems(
        "programme_unknown",
        "merchant_unknown",
        "terminal_unknown",
        "member_unknown",
        "identity_ambiguous",
        "identity_malformed",
        "card_check_digit",
        "amount_out_of_range",
        "programme_closed",
    ),
)
async def get_quote(
    body: QuoteBody, call: Annotated[Read, reads("redemptions:write", one_merchant="own")]
) -> Response:
    """Says what a redemption would take now, what it would be refused with, and the most that could be spent. Writes nothing."""
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
        cashier=None,
        channel=body.channel,
        bill_ref=body.bill_ref,
        bill_total_minor=body.bill_total_minor,
        bill_categories=tuple(body.bill_categories.items()) if body.bill_categories is not None else None,
    )
    async with (
        call.tenant.read() as db,
        db.transaction(isolation="repeatable_read", readonly=True),
    ):
        party, now = await quoting.party(db, command), call.tenant.clock()
        if (unknown := missing(command, party)) is not None:
            raise unknown
        assert party.wallet_id is not None
        terms = await versions.as_found(db, call.tenant.cache, command.programme, party.newest)
        points, refused = None, None
        if terms.closed:
            raise ProgrammeClosed.named(terms.code, pointer="/programme")
        if command.points is not None or command.money is not None:
            try:
                points = spending.price(terms, points=command.points, money=command.money)
            except Refusal as refusal:
                refused = refusal
        if body.reward is not None:
            points, refused = await _reward(db, terms, body.reward, party.wallet_id, now)
        tiered = {party.wallet_id} if terms.redeeming.tiers is not None else set()
        moments = {party.wallet_id: limits.moments(terms, now)}
        facts = (await limiting.facts(db, moments, tiered, now=now))[party.wallet_id]
        bills = [command.bill] if command.bill is not None else []
        paid = sum((await limiting.paid_of_bills(db, bills, now=now)).values())
        wallet = await quoting.wallet(
            db, party.wallet_id, points=points or 0, consumption=terms.consumption, now=now
        )
        await note_idle(db, call.tenant.cache, [wallet], now)
    priced = points
    if refused is not None:
        points = None  # nothing would be taken; the price is told all the same
    expired = sum(lot.usable for lot in wallet.lots if lot.expired_by(now))
    balance = {
        "available": terms.worth(wallet.available - expired),
        "held": terms.worth(wallet.held),
        "reserved": terms.worth(wallet.reserved),
    }
    found = quote(
        wallet,
        terms,
        facts,
        points=points,
        money=command.money,
        refused=refused,
        bill_total_minor=body.bill_total_minor,
        now=now,
        place=command.place_of(paid),
        reward=body.reward is not None,
        new_id=uuid7,
    )
    return answer(
        {
            "programme": terms.code,
            "wallet_id": party.wallet_id,
            "at": now,
            "redeemed": _paid(terms.worth(priced), command.money) if priced is not None else None,
            "takes": found.takes,
            "refusal": None
            if found.refusal is None
            else {"code": found.refusal.code, "detail": found.refusal.detail},
            "most": terms.worth(found.most),
            "limits": [
                {
                    "code": limit.refusal.code,
                    "most": terms.worth(limit.most),
                    "binding": binding,
                    "detail": limit.detail,
                }
                for limit, binding in found.limits
            ],
            "balance": balance,
        }
    )


async def _reward(
    db: Connection, terms: CompiledProgramme, reward: str, wallet_id: UUID, now: datetime
) -> tuple[int | None, Refusal | None]:
    """The price of a reward for a member, and what it would be refused with whatever the points."""
    stock = (await rewards.named(db, [(terms.code, reward)])).get((terms.code, reward))
    if stock is None:
        return None, RewardUnknown(f"{terms.code} has no reward {reward}.", pointer="/reward")
    standing = (await thresholds.standings(db, [wallet_id])).get(wallet_id)
    tier = standing_of(standing, [one.code for one in terms.ladder], now)
    points = stock.reward.price_for(terms, tier)
    since = stock.reward.counted_since(now, terms.zone)
    had = 0 if since is None else (await rewards.had(db, [(wallet_id, terms.code, reward, since)]))[0]
    try:
        stock.offer(tier=tier, now=now, had=had)
        if stock.reward.loads is not None:
            check_loads(terms, stock.reward.loads)
    except Refusal as refusal:
        return points, refusal
    return points, None


def _paid(worth: Worth, money: Money | None) -> Worth:
    """What the points would pay for: the amount that was asked, if one was."""
    return worth if money is None else Worth(worth.points, money)
