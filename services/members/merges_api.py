"""The HTTP side of merges."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel
from starlette.responses import Response

from services.members.domain.merges import MergeMember
from shared.http.bodies import Body
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes
from shared.programme.model import Code

merges = Router(prefix="/v1/members", tags=["members"])


class MergeBody(Body):
    """`into`: the member who goes on. `reason` is a code of your own (`duplicate`)."""

    into: UUID
    reason: Code


class MergedWalletOut(BaseModel):
    programme: str
    wallet_id: UUID
    merged_into: UUID
    """The wallet that has its points from now on."""


class MergedMemberOut(BaseModel):
    member_id: UUID
    status: Literal["merged"]
    merged_into: UUID
    wallets: list[MergedWalletOut]


@merges.post(
    "/{member_id}/merge",
    response_model=MergedMemberOut,
    responses=problems(
        "not_found", "member_unknown", "member_merged", "member_not_active", "merge_into_oneself"
    ),
)
async def merge_member(
    member_id: UUID, body: MergeBody, call: Annotated[Write, writes("members:merge")]
) -> Response:
    """Merges a member who was enrolled twice into the other, for ever. Its identities and cards name the other from now on, and
    the other's wallets have its points; where the other has no wallet in one of its programmes it gets one. Consents, contacts,
    segments and locale of the other stay as they are; nothing is added to them. The same merge again gets the same answer."""
    return await call.submit(MergeMember(member_id, body.into, body.reason))
