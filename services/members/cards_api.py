"""The HTTP side of cards."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel
from starlette.responses import Response

from services.members.domain.cards import BlockCard
from shared.http.bodies import Body
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes
from shared.programme.model import Code

cards = Router(prefix="/v1/cards", tags=["members"])


class BlockCardBody(Body):
    """`reason` is a code of your own (`lost`, `stolen`). With `replace` another card is issued at once, of the wallet that has the
    card's points now; where that has no active card also for one that is blocked already."""

    reason: Code
    replace: bool = False


class ReplacementOut(BaseModel):
    card_id: UUID
    card_number: str


class BlockedCardOut(BaseModel):
    card_id: UUID
    member_id: UUID
    wallet_id: UUID
    programme: str
    status: Literal["blocked"]
    replaced_by: ReplacementOut | None


@cards.post(
    "/{card_id}/block",
    response_model=BlockedCardOut,
    responses=problems("not_found", "card_not_active", "member_merged"),
)
async def block_card(
    card_id: UUID, body: BlockCardBody, call: Annotated[Write, writes("members:write")]
) -> Response:
    """Blocks a card for ever: nobody spends with it any more. Bills that still name it earn for its member."""
    return await call.submit(BlockCard(card_id, body.reason, body.replace))
