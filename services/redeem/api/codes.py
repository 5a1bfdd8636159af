"""Redemption codes at a till: looked at, and used. A code stands in bodies alone, never in an address."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, StringConstraints
from starlette.responses import Response

from services.redeem.api.redemptions import CAPTURE_REFUSALS, CaptureBody, SettledOut, captured
from services.redeem.api.sealing import with_benefit_code
from services.redeem.api.shapes import WorthOut
from services.redeem.domain.codes import CodeUnknown, code_hash, read_code
from services.redeem.store import versions
from services.redeem.store.redemptions import by_code
from services.redeem.store.versions import Promise
from shared.http.bodies import Body
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.money import Money, Worth
from shared.programme.model import Code

router = Router(prefix="/v1/redemption-codes", tags=["redemptions"])

CodeText = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class ValidateBody(Body):
    """A code as it was scanned or typed; groups and small letters are allowed."""

    code: CodeText
    merchant: Code


class UseBody(CaptureBody):
    """A code, where it is used, and how much of it."""

    code: CodeText
    merchant: Code


class CodeOut(BaseModel):
    """What a code is good for now. `refusal`: the code that using it would be refused with; null where it can be used."""

    redemption_id: UUID
    status: Literal["authorised", "captured", "voided"]
    usable: bool
    refusal: str | None
    programme: str
    wallet_id: UUID
    merchant: str
    bill_ref: str | None
    authorised: WorthOut
    expires_at: AwareDatetime


@router.post("/validate", response_model=CodeOut, responses=problems("code_malformed", "code_unknown"))
async def validate(
    body: ValidateBody, call: Annotated[Read, reads("redemptions:write", one_merchant="own")]
) -> Response:
    """Says what a code is good for, and changes nothing."""
    call.principal.at_merchant(body.merchant)
    hashed = code_hash(call.tenant.tenant.identity_key, read_code(body.code))
    async with call.tenant.read() as db:
        found = await by_code(db, hashed)
        if found is None or found["merchant"] != body.merchant:
            raise CodeUnknown("No redemption at this merchant has this code.", pointer="/code")
        terms = await versions.promised(
            db, call.tenant.cache, Promise(found["programme"], found["programme_version"])
        )
    refusal = _refusal(found, call.tenant.clock())
    return answer(
        {
            "redemption_id": found["redemption_id"],
            "status": found["status"],
            "usable": refusal is None,
            "refusal": refusal,
            "programme": found["programme"],
            "wallet_id": found["wallet_id"],
            "merchant": found["merchant"],
            "bill_ref": found["bill_ref"],
            "authorised": Worth(found["points"], Money(found["money_minor"], terms.currency)),
            "expires_at": found["expires_at"],
        }
    )


@router.post(
    "/use",
    response_model=SettledOut,
    responses=problems("code_malformed", "code_unknown", *CAPTURE_REFUSALS),
)
async def use(
    body: UseBody, call: Annotated[Write, writes("redemptions:write", one_merchant="own")]
) -> Response:
    """Captures the redemption that a code names, at the merchant that it was made for: all of it, or so much."""
    call.principal.at_merchant(body.merchant)
    hashed = code_hash(call.tenant.tenant.identity_key, read_code(body.code))
    outcome = await call.outcome(
        captured(body, code_hash=hashed, merchant=body.merchant), terminal=body.terminal
    )
    return call.answer(with_benefit_code(call.tenant.tenant.identity_key, outcome))


def _refusal(found: Any, now: datetime) -> str | None:
    match found["status"], found["ended"]:
        case "captured", _:
            return "redemption_captured"
        case "voided", "voided":
            return "redemption_voided"
        case _ if found["ended"] == "expired" or found["expires_at"] <= now:
            return "authorisation_expired"
        case _ if found["wallet_status"] != "active":
            return "wallet_blocked"
        case _:
            return None
