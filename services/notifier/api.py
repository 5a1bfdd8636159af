"""Messages over HTTP, for reading: what was told, by which channel, how far it is. Never a contact or a name."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from services.notifier import store
from services.notifier.store import Listed
from shared.errors import FieldMissing
from shared.http.cursors import Cursor, Limit, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, reads

router = Router(prefix="/v1", tags=["messages"])

NEWEST = UUID(int=2**128 - 1)


class MessageOut(BaseModel):
    """A message. `cause` is the event it tells of; `taken_over` counts senders that died with it in their hands."""

    message_id: UUID
    member_id: UUID
    wallet_id: UUID
    programme: str
    template: str
    channel: str
    locale: str | None
    state: str = Field(
        description="due, delivered, suppressed (no consent) or failed (given up, or no longer true)"
    )
    attempts: int
    taken_over: int
    cause: UUID
    created_at: datetime
    delivered_at: datetime | None


class MessagesOut(BaseModel):
    items: list[MessageOut]
    next_cursor: str | None


class Position(msgspec.Struct):
    """The cursor of a list of messages: the last one shown."""

    message_id: UUID


@router.get("/messages", response_model=MessagesOut, responses=problems("field_missing"))
async def list_messages(
    call: Annotated[Read, reads("messages:read")],
    member_id: Annotated[UUID | None, Query()] = None,
    wallet_id: Annotated[UUID | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The messages of a member, or about a wallet, newest first."""
    if member_id is None and wallet_id is None:
        raise FieldMissing("Name a member_id or a wallet_id.", pointer="/member_id")
    position = decode_cursor(cursor, Position)
    before = position.message_id if position is not None else NEWEST
    async with call.tenant.read() as db:
        whose = member_id
        if whose is None and wallet_id is not None:
            whose = await store.member_of(db, wallet_id)
        if whose is None:
            return page([], None)
        found = await store.messages_page(
            db, member_id=whose, wallet_id=wallet_id, before=before, most=limit + 1
        )
    shown = found[:limit]
    last = Position(shown[-1].message_id) if len(found) > limit else None
    return page([_shown(one) for one in shown], last)


def _shown(one: Listed) -> dict[str, Any]:
    shown = one._asdict()
    shown["taken_over"] = shown.pop("takeovers")
    return shown
