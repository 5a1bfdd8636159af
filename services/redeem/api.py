"""The HTTP side of redeem: redemptions, balances, ledgers."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from services.redeem.domain.redemption import Redeem
from services.redeem.domain.spending import MOST_POINTS
from services.redeem.store import reading
from shared.db import Connection
from shared.errors import NotFound, Refusal
from shared.http.bodies import Body, Moment
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.identity import identify
from shared.messaging import Refused
from shared.money import Money
from shared.programme.model import Code

PATIENCE_S = 1.0
"""How long a redemption waits for word of a member, merchant or programme that another service may be telling of just now."""

_PAUSES_S = (0.02, 0.05, 0.1, 0.2)
_EVER = datetime.max.replace(tzinfo=UTC)
_FIRST_PAGE = 2**63 - 1

Reference = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Channel = Literal["store", "ecom", "app", "kiosk", "call_center", "partner"]

redemptions = Router(prefix="/v1/redemptions", tags=["redemptions"])
wallets = Router(prefix="/v1/wallets", tags=["wallets"])
ROUTERS = (redemptions, wallets)


class NotYetConsistent(Refusal):
    code = "not_yet_consistent"


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


class MoneyOut(BaseModel):
    amount_minor: int
    currency: str


class WorthOut(BaseModel):
    points: int
    money: MoneyOut


class BucketsOut(BaseModel):
    available: WorthOut
    held: WorthOut
    reserved: WorthOut


class RedemptionOut(BaseModel):
    """`redeemed.money` is what the points paid for: the amount asked for, if it was an amount."""

    redemption_id: UUID
    status: Literal["captured"]
    programme: str
    wallet_id: UUID
    effective_at: AwareDatetime
    redeemed: WorthOut
    balance: BucketsOut


class ExpiringOut(WorthOut):
    expires_at: AwareDatetime


class BalanceOut(BucketsOut):
    """Points past their expiry are not counted, swept or not."""

    wallet_id: UUID
    programme: str
    clock: Literal["effective", "posted"]
    at: AwareDatetime
    debt: WorthOut
    expiring: list[ExpiringOut]


class SourceOut(BaseModel):
    bill_id: UUID | None = None
    redemption_id: UUID | None = None


class LineOut(BaseModel):
    """One line of the ledger; `hash` chains it to the line before it (docs/ledger.md)."""

    seq: int
    posting_id: UUID
    kind: str
    from_: str = Field(alias="from")
    to: str
    points: int
    money: MoneyOut
    lot_id: UUID | None
    source: SourceOut | None
    effective_at: AwareDatetime
    posted_at: AwareDatetime
    balance: BucketsOut
    hash: str


class LedgerOut(BaseModel):
    items: list[LineOut]
    next_cursor: str | None


class Position(msgspec.Struct):
    """The cursor of a ledger: the number of the last line shown."""

    seq: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


@redemptions.post(
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


@wallets.get(
    "/{wallet_id}/balance", response_model=BalanceOut, responses=problems("not_found", "not_yet_consistent")
)
async def get_balance(
    wallet_id: UUID,
    call: Annotated[Read, reads("wallets:read")],
    at: Annotated[Moment | None, Query(description="A past moment; without it: now.")] = None,
    clock: Annotated[
        Literal["effective", "posted"],
        Query(description="Whether `at` means when things happened or when they were written."),
    ] = "effective",
) -> Response:
    """What a wallet holds, and when its points expire. Without `at` it is what may be spent now, on either clock."""
    moment = at if at is not None else call.tenant.clock()
    async with call.tenant.read() as db:
        value = await _value(db, wallet_id)
        if at is None:
            standing = await reading.standing(db, wallet_id)
        elif clock == "posted":
            standing = await reading.standing_at(db, wallet_id, posted_by=moment, effective_by=_EVER)
        else:
            standing = await reading.standing_at(db, wallet_id, posted_by=_EVER, effective_by=moment)
    gone = sum(points for expires_at, points in standing.by_expiry if _past(expires_at, moment))
    return answer(
        {
            "wallet_id": wallet_id,
            "programme": value.programme,
            "clock": clock,
            "at": moment,
            "available": value.worth(standing.available - gone),
            "held": value.worth(standing.held),
            "reserved": value.worth(standing.reserved),
            "debt": value.worth(standing.debt),
            "expiring": [
                {"expires_at": expires_at, "points": points, "money": value.worth(points).money}
                for expires_at, points in standing.by_expiry
                if expires_at is not None and expires_at > moment
            ],
        }
    )


@wallets.get(
    "/{wallet_id}/ledger", response_model=LedgerOut, responses=problems("not_found", "not_yet_consistent")
)
async def get_ledger(
    wallet_id: UUID, call: Annotated[Read, reads("wallets:read")], cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """A wallet's lines, the newest first. Money is what the points were worth when they were posted."""
    position = decode_cursor(cursor, Position)
    before = position.seq if position is not None else _FIRST_PAGE
    async with call.tenant.read() as db:
        value = await _value(db, wallet_id)
        rows = await reading.ledger_page(db, wallet_id, before=before, most=limit + 1)
    shown = [_line(row, value) for row in rows[:limit]]
    return page(shown, Position(rows[limit - 1]["seq"]) if len(rows) > limit else None)


async def _value(db: Connection, wallet_id: UUID) -> reading.Value:
    try:
        value = await reading.value_of(db, wallet_id)
    except reading.Unvalued as programme:
        raise NotYetConsistent(
            f"No word of the programme {programme} has come here yet. Ask again."
        ) from None
    if value is None:
        raise NotFound("There is no such wallet.")
    return value


def _past(expires_at: datetime | None, moment: datetime) -> bool:
    return expires_at is not None and expires_at <= moment


def _line(row: Any, value: reading.Value) -> dict[str, Any]:
    return {
        "seq": row["seq"],
        "posting_id": row["posting_id"],
        "kind": row["kind"],
        "from": row["from_bucket"],
        "to": row["to_bucket"],
        "points": row["points"],
        "money": Money(row["money_minor"], value.currency),
        "lot_id": row["lot_id"],
        "source": _source(row["kind"], row["source_id"]),
        "effective_at": row["effective_at"],
        "posted_at": row["posted_at"],
        "balance": {
            "available": value.worth(row["available_after"]),
            "held": value.worth(row["held_after"]),
            "reserved": value.worth(row["reserved_after"]),
        },
        "hash": row["hash"].hex(),
    }


def _source(kind: str, source_id: UUID | None) -> dict[str, UUID] | None:
    if source_id is None:
        return None
    return {"redemption_id" if kind == "redeem" else "bill_id": source_id}
