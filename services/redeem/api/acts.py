"""Points that people move: given to another member, brought back after they expired, brought along from elsewhere."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from services.redeem.api.bodies import Reference
from services.redeem.api.shapes import BucketsOut, WorthOut
from services.redeem.domain.acts import Open, Reinstate, Transfer
from services.redeem.domain.adjusting import opening_id
from services.redeem.domain.spending import MOST_POINTS
from shared.http.bodies import Body, Moment
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes
from shared.ids import uuid7
from shared.programme.model import Code

transfers = Router(prefix="/v1/transfers", tags=["wallets"])
reinstatements = Router(prefix="/v1/wallets", tags=["adjustments"])
openings = Router(prefix="/v1/openings", tags=["adjustments"])
ROUTERS = (transfers, reinstatements, openings)

Points = Annotated[int, Field(ge=1, le=MOST_POINTS)]


class TransferBody(Body):
    """Points go from one wallet to another of the same programme."""

    from_wallet: UUID = Field(strict=False)
    to_wallet: UUID = Field(strict=False)
    points: Points


class TransferOut(BaseModel):
    """`balance`: what the giver has left."""

    transfer_id: UUID
    programme: str
    from_wallet: UUID
    to_wallet: UUID
    effective_at: AwareDatetime
    transferred: WorthOut
    balance: BucketsOut


class ReinstatementBody(Body):
    """Expired points of a lot, until `expires_at` or for ever. `reason` is a code of the programme's list."""

    lot_id: UUID = Field(strict=False)
    points: Points
    expires_at: Moment | None = None
    reason: Code


class ReinstatementOut(BaseModel):
    reinstatement_id: UUID
    programme: str
    wallet_id: UUID
    lot_id: UUID
    effective_at: AwareDatetime
    expires_at: AwareDatetime | None
    reinstated: WorthOut
    balance: BucketsOut


class OpeningBody(Body):
    """Points that a member had elsewhere: earned then, expiring then. `opening_ref` is your own: what comes under it again is
    answered again, with the expiry of now, and is refused where it says anything else (`opening_conflict`). `last_active_at`: when
    the member last earned or spent there, not before `earned_at`; where the programme ends balances that were left alone
    (`inactivity`), these points live on from then, and without it from `earned_at`."""

    opening_ref: Reference
    wallet_id: UUID = Field(strict=False)
    points: Points
    earned_at: Moment
    expires_at: Moment | None = None
    last_active_at: Moment | None = None


class OpeningOut(BaseModel):
    """`over_at_once`: what of these points can't be spent, for it has expired already or silence has ended the balance."""

    opening_id: UUID
    programme: str
    wallet_id: UUID
    effective_at: AwareDatetime
    expires_at: AwareDatetime | None
    opened: WorthOut
    over_at_once: WorthOut
    balance: BucketsOut


@transfers.post(
    "",
    status_code=201,
    response_model=TransferOut,
    responses=problems(
        "not_found",
        "transfer_to_oneself",
        "transfer_across_programmes",
        "programme_closed",
        "wallet_blocked",
        "insufficient_points",
        "amount_out_of_range",
        "programme_unknown",
    ),
)
async def transfer(body: TransferBody, call: Annotated[Write, writes("transfers:write")]) -> Response:
    """Gives points to another wallet. Lots move in the programme's order with their expiries; what was given is spent: no refund of
    what earned it takes it from the receiver. A token of one merchant can't."""
    return await call.submit(
        Transfer(transfer_id=uuid7(), giver=body.from_wallet, receiver=body.to_wallet, points=body.points)
    )


@reinstatements.post(
    "/{wallet_id}/reinstatements",
    status_code=201,
    response_model=ReinstatementOut,
    responses=problems(
        "person_required",
        "not_found",
        "reason_unknown",
        "amount_out_of_range",
        "adjustment_needs_second_person",
        "programme_unknown",
    ),
)
async def reinstate(
    wallet_id: UUID, body: ReinstatementBody, call: Annotated[Write, writes("adjustments:request")]
) -> Response:
    """Brings expired points of a lot back, with a new expiry of the lot; up to the programme's threshold."""
    call.principal.person()
    command = Reinstate(
        reinstatement_id=uuid7(),
        wallet_id=wallet_id,
        lot_id=body.lot_id,
        points=body.points,
        expires_at=body.expires_at,
        reason=body.reason,
    )
    return await call.submit(command)


@openings.post(
    "",
    status_code=201,
    response_model=OpeningOut,
    responses={
        200: {"model": OpeningOut, "description": "Opened before"},
        **problems(
            "person_required",
            "mfa_required",
            "not_found",
            "programme_closed",
            "amount_out_of_range",
            "occurred_in_future",
            "opening_conflict",
            "adjustment_needs_second_person",
            "programme_unknown",
        ),
    },
)
async def open_balance(body: OpeningBody, call: Annotated[Write, writes("adjustments:approve")]) -> Response:
    """Opens a wallet with points that its member had before, backdated to when they were earned. Takes a person with a second
    factor, up to the programme's threshold; more is an adjustment, by two. `pointbank open-balances` does it for a file."""
    call.principal.with_second_factor()
    command = Open(
        opening_id=opening_id(body.opening_ref),
        wallet_id=body.wallet_id,
        points=body.points,
        earned_at=body.earned_at,
        expires_at=body.expires_at,
        last_active_at=body.last_active_at,
        by_one=True,
    )
    return await call.submit(command)
