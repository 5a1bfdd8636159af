"""Blocking a wallet: nothing is spent or given from it until it is unblocked; what is earned still comes."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel
from starlette.responses import Response

from services.redeem.domain.blocking import BlockWallet
from services.redeem.store import adjustments
from shared.errors import NotFound
from shared.http.bodies import Body
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.programme.model import Code

router = Router(prefix="/v1/wallets", tags=["wallets"])


class BlockBody(Body):
    """`reason` is a code of your own; it is told with the event, and noted."""

    reason: Code


class StatusOut(BaseModel):
    wallet_id: UUID
    programme: str
    status: Literal["active", "blocked", "closed", "merged"]
    merged_into: UUID | None = None


@router.get("/{wallet_id}", response_model=StatusOut, responses=problems("not_found"))
async def get_wallet(
    wallet_id: UUID, call: Annotated[Read, reads("wallets:read", one_merchant="alike")]
) -> Response:
    """Whether a wallet can be spent from. What is in it is asked at its balance."""
    async with call.tenant.read() as db:
        found = await adjustments.status(db, wallet_id)
    if found is None:
        raise NotFound("There is no such wallet.")
    return answer(found)


@router.post(
    "/{wallet_id}/block",
    response_model=StatusOut,
    responses=problems("person_required", "not_found", "wallet_blocked"),
)
async def block(
    wallet_id: UUID, body: BlockBody, call: Annotated[Write, writes("adjustments:request")]
) -> Response:
    """Blocks a wallet at once: redemptions, captures and transfers are refused with wallet_blocked. What is blocked stays so."""
    call.principal.person()
    return await call.submit(BlockWallet(wallet_id=wallet_id, blocked=True, reason=body.reason))


@router.post(
    "/{wallet_id}/unblock",
    response_model=StatusOut,
    responses=problems("person_required", "mfa_required", "not_found", "wallet_blocked"),
)
async def unblock(
    wallet_id: UUID, body: BlockBody, call: Annotated[Write, writes("adjustments:approve")]
) -> Response:
    """Lets a wallet be spent from again. Takes a person with a second factor."""
    call.principal.with_second_factor()
    return await call.submit(BlockWallet(wallet_id=wallet_id, blocked=False, reason=body.reason))
