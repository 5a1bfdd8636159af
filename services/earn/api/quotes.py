"""What a basket would earn, before it is paid: judged like a bill, and written nowhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import Body as FromBody
from fastapi.requests import Request
from pydantic import BaseModel
from starlette.responses import Response

from services.earn.api.bills import AccrualOut, WorthOut
from services.earn.bank import Bank, Redeemable
from services.earn.domain.bill import RecordBill, check_total, read_bill
from services.earn.domain.body import QuoteBody
from services.earn.domain.conversion import back
from services.earn.domain.decision import Decision, Judged
from services.earn.domain.judge import Facts, admit, decide, waits_for, weigh
from services.earn.domain.words import words
from services.earn.store import benefits, counters
from services.earn.store.facts import activity_for, conditions_of, facts_for
from shared.db import Connection
from shared.errors import MemberUnknown, MerchantUnknown, ProgrammeUnknown, Refusal, TerminalUnknown
from shared.events import BillAccrual
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, reads
from shared.ids import uuid7
from shared.money import Worth, worth
from shared.programme.fared import fared
from shared.runtime import TenantRuntime

router = Router(prefix="/v1/quotes", tags=["bills"])

NO_REFERENCE = "quote"


class OfferOut(BaseModel):
    """A campaign that was tried: what it would give, and how it fared (docs/programme.md has the results)."""

    campaign: str
    result: str
    arm: str | None
    points: WorthOut


class EffectOut(BaseModel):
    """What a campaign would give at the checkout, and how it fared. What is `offered` the till may give; the bill then says so in
    `effects_applied`, but for rewards, which are issued by themselves. `amount_minor`: off the bill, or what it is worth,
    in the `currency` of the programme, in which `effects_applied` says it; `bill_amount_minor`: the same in the `bill_currency` of
    the basket, which a till takes off, rounded down."""

    campaign: str
    result: str
    arm: str | None
    kind: Literal["discount", "free_item", "reward"] | None
    amount_minor: int
    currency: str
    bill_amount_minor: int
    bill_currency: str
    sku: str | None
    reward: str | None


class StampsOut(BaseModel):
    """The stamps that the basket would give to a card. `progress` of those `needed` are on it then; it would issue so many
    rewards."""

    card: str
    stamps: int
    progress: int
    needed: int
    reward: str
    rewards: int


class BoundOut(BaseModel):
    """What keeps the most from being more, under the code that a redemption beyond it is refused with."""

    code: str
    detail: str
    most: WorthOut


class RedeemableOut(BaseModel):
    """The most that the member could spend of this basket at that moment, of how much, and by what that is bound."""

    at: datetime
    most: WorthOut
    available: WorthOut
    bounds: list[BoundOut]


class QuotedOut(AccrualOut):
    """What the basket would earn in one programme, and what the bank says could be spent of it. `redeemable` is null where that
    is not known: `redeemable_unknown` says why, `not_asked`, `bank_away`, or the code with which the bank refuses
    (`scope_missing`: the token may not redeem). `balance`, and `redemption_quote` for a basket, are where to ask it."""

    campaigns: list[OfferOut]
    effects: list[EffectOut]
    stamp_cards: list[StampsOut]
    redeemable: RedeemableOut | None
    redeemable_unknown: str | None
    balance: str
    redemption_quote: str


class QuoteOut(BaseModel):
    """What the basket would earn now. Nothing is promised: budgets go on, and the bill is judged when it is recorded."""

    quoted_at: datetime
    accruals: list[QuotedOut]
    words: list[str]


class _Offer(msgspec.Struct, frozen=True):
    campaign: str
    result: str
    arm: str | None
    points: Worth


class _Effect(msgspec.Struct, frozen=True):
    campaign: str
    result: str
    arm: str | None
    kind: str | None
    amount_minor: int
    currency: str
    bill_amount_minor: int
    bill_currency: str
    sku: str | None
    reward: str | None


class _Stamps(msgspec.Struct, frozen=True):
    card: str
    stamps: int
    progress: int
    needed: int
    reward: str | None
    rewards: int


class _Quoted(BillAccrual, frozen=True, kw_only=True):
    campaigns: list[_Offer]
    effects: list[_Effect]
    stamp_cards: list[_Stamps]
    redeemable: Redeemable | None
    redeemable_unknown: str | None
    balance: str
    redemption_quote: str


class _Quote(msgspec.Struct, frozen=True):
    quoted_at: datetime
    accruals: list[_Quoted]
    words: list[str]


@router.post(
    "",
    response_model=QuoteOut,
    responses=problems(
        "amount_out_of_range",
        "total_mismatch",
        "currency_mismatch",
        "occurred_in_future",
        "occurred_too_early",
        "programme_closed",
        "card_check_digit",
        "identity_ambiguous",
        "identity_malformed",
        "member_unknown",
        "merchant_unknown",
        "terminal_unknown",
        "programme_unknown",
    ),
)
async def quote(
    basket: Annotated[QuoteBody, FromBody()],
    call: Annotated[Read, reads("bills:write", one_merchant="own")],
    request: Request,
) -> Response:
    """What this basket would earn if it were paid now, which campaigns apply, and why; and what could be spent of it, where
    the bank answers in time. Writes nothing."""
    call.principal.at_merchant(basket.merchant)
    now = call.tenant.clock()
    given = {"occurred_at": _written(now), **basket.model_dump(exclude_none=True), "bill_ref": NO_REFERENCE}
    bill = read_bill(msgspec.json.encode(given), call.tenant.tenant.identity_key)
    check_total(bill)
    async with call.tenant.read() as db:
        decision = await _decide(db, bill, call, now)
        told = await conditions_of(db, [decision], call.tenant.cache)
    redeemable = await _bank(call).redeemable(
        bill,
        decision.programmes,
        member=given.get("member"),
        authorization=request.headers.get("authorization", ""),
        request_id=call.request_id,
        traceparent=call.traceparent,
    )
    said = words(
        decision,
        line_ids=[line.line_id for line in bill.lines],
        total_minor=bill.total_minor,
        currency=bill.currency,
        told=told,
    )
    quoted = [_quoted(judged, could) for judged, could in zip(decision.programmes, redeemable, strict=True)]
    return answer(_Quote(now, quoted, said))


def _bank(call: Read) -> Bank:
    """One for each tenant and process: its connections are kept, and that it is away is not found out by every call."""
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    found = runtime.cache.get(Bank)
    if found is None:
        found = runtime.cache[Bank] = Bank(runtime.settings.redeem_url)
    assert isinstance(found, Bank)
    return found


async def _decide(db: Connection, bill: RecordBill, call: Read, now: datetime) -> Decision:
    facts = await facts_for(db, [bill], call.tenant.cache)
    _known(bill, facts)
    admit(bill, facts, now)
    activity = await activity_for(db, [(bill, facts)], lock=False)
    weighed = weigh(bill, facts, now, activity)
    keys, stamped = weighed.counters(quoted=True), weighed.cards()
    spent = await counters.read(db, keys) if keys else {}
    cards = await benefits.read_cards(db, stamped) if stamped else {}
    return decide(weighed, uuid7, spent, cards, quoted=True)


_UNKNOWN: dict[str, tuple[type[Refusal], str]] = {
    "merchant": (MerchantUnknown, "/merchant"),
    "terminal": (TerminalUnknown, "/terminal"),
    "identity": (MemberUnknown, "/member"),
    "member": (MemberUnknown, "/member"),
    "programme": (ProgrammeUnknown, "/programmes"),
}


def _known(bill: RecordBill, facts: Facts) -> None:
    """A bill waits for what is not known; a quote says so."""
    for kind, _ in waits_for(bill, facts, taken=True):  # one that was taken off is refused, and not awaited
        refusal, pointer = _UNKNOWN[kind]
        raise refusal(f"This {pointer[1:]} is not known here yet. A bill would wait for it.", pointer=pointer)


def _quoted(judged: Judged, could: Redeemable | str) -> _Quoted:
    told, by = judged.told(), judged.conversion
    tried = fared(judged.details) if judged.details is not None else ()
    return _Quoted(
        **{name: getattr(told, name) for name in BillAccrual.__struct_fields__},
        campaigns=[
            _Offer(one.campaign, one.result, one.arm, worth(one.points, judged.point_value, judged.currency))
            for one in tried
        ],
        effects=[
            _Effect(
                one.campaign,
                one.result,
                one.arm,
                one.kind,
                one.granted_minor,
                judged.currency,
                one.granted_minor if by is None else back(one.granted_minor, by, judged.currency),
                judged.currency if by is None else by.from_currency,
                one.what if one.kind == "free_item" else None,
                one.what if one.kind == "reward" else None,
            )
            for one in judged.offers
        ],
        stamp_cards=[
            _Stamps(
                one.card,
                one.stamps,
                one.before + one.stamps - len(one.effects) * one.needed,
                one.needed,
                one.reward,
                len(one.effects),
            )
            for one in judged.stamps
            if one.stamps
        ],
        redeemable=could if isinstance(could, Redeemable) else None,
        redeemable_unknown=could if isinstance(could, str) else None,
        balance=_balance(judged.wallet_id),
        redemption_quote="/v1/redemption-quotes",
    )


def _balance(wallet_id: UUID) -> str:
    return f"/v1/wallets/{wallet_id}/balance"


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
