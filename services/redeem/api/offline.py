"""Tills that can't ask: allowances before, and what was spent on them after. docs/offline.md tells it with examples."""

from __future__ import annotations

import dataclasses
import hmac
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints
from starlette.responses import Response

from services.redeem.api.bodies import MemberBody, Reference
from services.redeem.api.shapes import BucketsOut, WorthOut
from services.redeem.domain.offline import AllowanceInvalid, AskAllowance, ReportUses, Use
from services.redeem.domain.spending import MOST_POINTS
from shared.http.bodies import Body, Moment
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.identity import identify
from shared.messaging import Done
from shared.programme.model import Code
from shared.runtime import TenantRuntime

allowances = Router(prefix="/v1/redemption-allowances", tags=["redemptions"])
uses = Router(prefix="/v1/offline-redemptions", tags=["redemptions"])
ROUTERS = (allowances, uses)

ALGORITHM = "Ed25519"
AUDIENCE = "offline-redemptions"


class AllowanceBody(Body):
    """Whose points, and which terminal may spend them while it can't ask."""

    programme: Code
    member: MemberBody
    merchant: Code
    terminal: Code


class AllowanceOut(BaseModel):
    """What this terminal may spend of this member's points until `expires_at`. Keep `allowance`: it goes with the report."""

    allowance_id: UUID
    programme: str
    wallet_id: UUID
    merchant: str
    terminal: str
    allowed: WorthOut
    issued_at: AwareDatetime
    expires_at: AwareDatetime
    allowance: str


class KeyOut(BaseModel):
    """The public key that allowances are signed with, as a JWK (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str


class UseBody(Body):
    """`redemption_ref` is your own, once for each allowance; `occurred_at` is when it happened at the till."""

    redemption_ref: Reference
    points: Annotated[int, Field(ge=1, le=MOST_POINTS)]
    occurred_at: Moment
    bill_ref: Reference | None = None
    cashier: Code | None = None


class ReportBody(Body):
    """What was spent on one allowance. The order does not matter: it is posted as it happened."""

    allowance: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    redemptions: Annotated[list[UseBody], Field(min_length=1, max_length=100)]


class UseOut(BaseModel):
    """What became of one. `overdrawn`: the part that the balance did not have; it is owed now. `returned`: what has come back of
    it, at once where its bill was refunded before. A refused one moved nothing."""

    redemption_ref: str
    outcome: Literal["posted", "repeated", "refused"]
    redemption_id: UUID | None = None
    redeemed: WorthOut | None = None
    overdrawn: WorthOut | None = None
    returned: WorthOut | None = None
    wallet_blocked: bool = False
    code: str | None = None
    detail: str | None = None


class OwingOut(BucketsOut):
    """`debt` is not positive: what the member owes."""

    debt: WorthOut


class ReportOut(BaseModel):
    allowance_id: UUID
    left: WorthOut
    redemptions: list[UseOut]
    balance: OwingOut


@allowances.post(
    "",
    status_code=201,
    response_model=AllowanceOut,
    responses={
        200: {"model": AllowanceOut, "description": "One stands already: what is left of it"},
        **problems(
            "programme_unknown",
            "merchant_unknown",
            "terminal_unknown",
            "member_unknown",
            "identity_ambiguous",
            "identity_malformed",
            "card_check_digit",
            "programme_closed",
            "offline_not_allowed",
            "points_not_accepted",
            "wallet_blocked",
            "tier_not_eligible",
        ),
    },
)
async def give_allowance(
    body: AllowanceBody, call: Annotated[Write, writes("redemptions:write", one_merchant="own")]
) -> Response:
    """Lets a terminal spend points of a member while it can't ask. One stands for both at a time: asked again it is answered with
    200 and what is left of it. It sets nothing aside."""
    call.principal.at_merchant(body.merchant)
    identity = identify(call.tenant.tenant.identity_key, body.member.model_dump())
    command = AskAllowance(
        programme=body.programme,
        member_id=UUID(body.member.member_id) if body.member.member_id is not None else None,
        identity_kind=identity.kind,
        identity_hash=identity.hash,
        merchant=body.merchant,
        terminal=body.terminal,
    )
    outcome = await call.outcome(command, terminal=body.terminal)
    if isinstance(outcome, Done):
        # Signed on the wire only: what is kept under the idempotency key can't be spent.
        outcome = _signed(outcome, _key_of(call.tenant), call.tenant.tenant.code)
    return call.answer(outcome)


@allowances.get("/public-key", response_model=KeyOut)
async def get_public_key(call: Annotated[Read, reads("redemptions:write", one_merchant="alike")]) -> Response:
    """The key that a till checks an allowance with while it can't ask."""
    return answer(_key_of(call.tenant).as_dict(private=False))


@uses.post("", response_model=ReportOut, responses=problems("not_found", "allowance_invalid"))
async def report(
    body: ReportBody, call: Annotated[Write, writes("redemptions:write", one_merchant="own")]
) -> Response:
    """Posts what a till let a member spend while it could not ask, in the order in which it happened; each is answered by itself.
    What was posted before under its reference is answered again."""
    said = _read(body.allowance, _key_of(call.tenant), call.tenant.tenant.code)
    call.principal.at_merchant(said["merchant"])
    command = ReportUses(
        allowance_id=UUID(said["allowance_id"]),
        uses=tuple(
            Use(
                redemption_ref=one.redemption_ref,
                points=one.points,
                occurred_at=one.occurred_at,
                bill_ref=one.bill_ref,
                cashier=one.cashier,
            )
            for one in body.redemptions
        ),
        merchant=call.principal.merchant,
    )
    return await call.submit(command, terminal=said["terminal"])


def _signed(outcome: Done, key: OKPKey, tenant: str) -> Done:
    """The answer with the signed text in it: what is kept under the idempotency key is no allowance by itself."""
    said = msgspec.json.decode(outcome.body)
    claims = {
        "iss": "pointbank",
        "aud": AUDIENCE,
        "tenant": tenant,
        **{name: said[name] for name in ("allowance_id", "programme", "wallet_id", "merchant", "terminal")},
        "points": said["allowed"]["points"],
        "iat": int(datetime.fromisoformat(said["issued_at"]).timestamp()),
        "exp": int(datetime.fromisoformat(said["expires_at"]).timestamp()),
    }
    said["allowance"] = jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])
    return dataclasses.replace(outcome, body=msgspec.json.encode(said))


def _read(allowance: str, key: OKPKey, tenant: str) -> dict[str, Any]:
    """What an allowance says; refuses allowance_invalid. Whether it is over is judged by when each use happened."""
    try:
        claims = jwt.decode(allowance, key, algorithms=[ALGORITHM]).claims
    except (JoseError, ValueError):
        claims = {}
    if claims.get("aud") != AUDIENCE or claims.get("tenant") != tenant:
        raise AllowanceInvalid(
            "It is not an allowance that was given here. Send it as it was given.", pointer="/allowance"
        )
    return claims


def _key_of(runtime: Any) -> OKPKey:
    """The tenant's key for allowances, made once in a process; derived, so that every replica has the same."""
    assert isinstance(runtime, TenantRuntime)
    known = runtime.cache.get("allowance key")
    if known is None:
        secret = runtime.settings.seal_root().encode()
        seed = hmac.digest(secret, f"allowances:{runtime.code}".encode(), "sha256")
        raw = Ed25519PrivateKey.from_private_bytes(seed)
        known = OKPKey.import_key(raw)
        known.ensure_kid()
        runtime.cache["allowance key"] = known
    assert isinstance(known, OKPKey)
    return known
