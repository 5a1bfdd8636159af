"""Benefits: looked at, and used once by their codes. A code stands in bodies alone, never in an address."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import AwareDatetime, BaseModel
from starlette.responses import Response

from services.redeem.api.bodies import Reference
from services.redeem.api.codes import CodeText
from services.redeem.api.shapes import MoneyOut
from services.redeem.domain.blocking import withheld
from services.redeem.domain.codes import benefit_code, benefit_hash, read_code
from services.redeem.domain.rewards import BenefitUnknown, Origin, UseBenefit, objection
from services.redeem.domain.shown import benefit_out
from services.redeem.store import giving
from services.redeem.store import rewards as store
from shared.errors import NotFound
from shared.http.bodies import Body
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.programme.model import Code

router = Router(prefix="/v1/benefits", tags=["rewards"])
_NEWEST = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)


class BenefitCodeBody(Body):
    """A code as it was scanned or typed; groups and small letters are allowed."""

    code: CodeText


class UseBenefitBody(BenefitCodeBody):
    """A code, and where it is used."""

    merchant: Code
    terminal: Code | None = None
    cashier: Code | None = None
    bill_ref: Reference | None = None


class BenefitOut(BaseModel):
    """What points bought, or what was given (`origin` says by what). `unit_cost`: what its use costs; it is owed while the status
    is `issued`."""

    benefit_id: UUID
    redemption_id: UUID | None
    origin: Origin
    wallet_id: UUID
    programme: str
    reward: str
    version: int
    kind: str
    name: dict[str, str]
    status: Literal["issued", "consumed", "expired", "withdrawn"]
    unit_cost: MoneyOut
    issued_at: AwareDatetime
    expires_at: AwareDatetime | None
    consumed_at: AwareDatetime | None
    withdrawn_at: AwareDatetime | None
    merchant: str | None
    terminal: str | None
    bill_ref: str | None


class ValidatedOut(BenefitOut):
    """`refusal`: the code that using it would be refused with; null where it can be used."""

    usable: bool
    refusal: str | None


class BenefitsOut(BaseModel):
    items: list[BenefitOut]
    next_cursor: str | None


class BenefitCodeOut(BaseModel):
    """What uses the benefit at a till: show it to its member alone."""

    benefit_id: UUID
    code: str


class BenefitPosition(msgspec.Struct):
    """The cursor of a wallet's benefits: the last one shown."""

    at: datetime
    id: UUID


@router.get("", response_model=BenefitsOut, responses=problems())
async def get_benefits(
    call: Annotated[Read, reads("redemptions:read", one_merchant="own")],
    wallet_id: Annotated[UUID, Query(description="Whose.")],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """A wallet's benefits, and those of all that were merged into it, the newest first, bought and given, without their codes. A
    token of one merchant has those that nobody used, and those that were used there."""
    position = decode_cursor(cursor, BenefitPosition)
    before = (position.at, position.id) if position is not None else _NEWEST
    async with call.tenant.read() as db:
        rows = await giving.of_wallet(
            db, wallet_id, merchant=call.principal.merchant, before=before, most=limit + 1
        )
    now = call.tenant.clock()
    shown = [benefit_out(row, store.issued_as(row), now) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return page(shown, BenefitPosition(last["issued_at"], last["benefit_id"]) if last is not None else None)


@router.get("/{benefit_id}/code", response_model=BenefitCodeOut, responses=problems("not_found"))
async def get_code(benefit_id: UUID, call: Annotated[Read, reads("redemptions:write")]) -> Response:
    """The code of a benefit, for who shows it to its member: one that was given was told to nobody yet. One that is a gift card has
    none."""
    async with call.tenant.read() as db:
        row = await store.benefit(db, benefit_id)
    if row is None:
        raise NotFound("There is no such benefit.")
    if store.issued_as(row).loads is not None:
        raise NotFound("This benefit is a gift card: it is used by its serial and PIN, and has no code.")
    code = benefit_code(call.tenant.tenant.identity_key, benefit_id)
    return answer({"benefit_id": benefit_id, "code": code})


@router.get("/{benefit_id}", response_model=BenefitOut, responses=problems("not_found"))
async def get_benefit(
    benefit_id: UUID, call: Annotated[Read, reads("redemptions:read", one_merchant="own")]
) -> Response:
    """One benefit, without its code. To a token of one merchant one that was used elsewhere is not there."""
    async with call.tenant.read() as db:
        row = await store.benefit(db, benefit_id)
    if row is None or _used_elsewhere(row, call):
        raise NotFound("There is no such benefit.")
    return answer(benefit_out(row, store.issued_as(row), call.tenant.clock()))


@router.post(
    "/validate", response_model=ValidatedOut, responses=problems("code_malformed", "benefit_unknown")
)
async def validate_benefit(
    body: BenefitCodeBody, call: Annotated[Read, reads("redemptions:write", one_merchant="own")]
) -> Response:
    """Says what a code is good for, and changes nothing. Where it was used elsewhere, a token of one merchant is not told where."""
    hashed = benefit_hash(call.tenant.tenant.identity_key, read_code(body.code))
    async with call.tenant.read() as db:
        row = await store.benefit_of_code(db, hashed)
        if row is None:
            raise BenefitUnknown("No benefit has this code.", pointer="/code")
        status = await store.owner_status(db, row["benefit_id"])
    now = call.tenant.clock()
    ends = {name: row[name] for name in ("expires_at", "consumed_at", "withdrawn_at", "lapsed_at")}
    refusal = objection(**ends, now=now) or withheld(status)
    shown = benefit_out(row, store.issued_as(row), now)
    if _used_elsewhere(row, call):
        shown |= {"merchant": None, "terminal": None, "bill_ref": None}
    return answer({**shown, "usable": refusal is None, "refusal": None if refusal is None else refusal.code})


@router.post(
    "/use",
    response_model=BenefitOut,
    responses=problems(
        "code_malformed",
        "benefit_unknown",
        "benefit_consumed",
        "benefit_expired",
        "benefit_withdrawn",
        "wallet_blocked",
        "merchant_unknown",
        "terminal_unknown",
    ),
)
async def use_benefit(
    body: UseBenefitBody, call: Annotated[Write, writes("redemptions:write", one_merchant="own")]
) -> Response:
    """Consumes the benefit that a code names, once and for good; not while its wallet is blocked."""
    call.principal.at_merchant(body.merchant)
    command = UseBenefit(
        code_hash=benefit_hash(call.tenant.tenant.identity_key, read_code(body.code)),
        merchant=body.merchant,
        terminal=body.terminal,
        cashier=body.cashier,
        bill_ref=body.bill_ref,
    )
    return await call.submit(command, terminal=body.terminal)


def _used_elsewhere(row: Any, call: Read) -> bool:
    return row["merchant"] is not None and not call.principal.sees(row["merchant"])
