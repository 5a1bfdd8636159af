"""The HTTP side of segments."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import Body as FromBody
from pydantic import BaseModel, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from services.members import store
from services.members.domain.segments import PutInSegment, Stays, TakeOutOfSegment
from services.members.segments import stays_of
from shared.errors import NotFound
from shared.http.bodies import Body, Moment
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.programme.model import Code


class StayBody(Body):
    """From when on, and before when, the member is in the segment; left out: from now on, with no end."""

    from_at: Moment | None = None
    until_at: Moment | None = None

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.until_at is not None and (self.from_at is None or self.until_at <= self.from_at):
            raise PydanticCustomError("field_missing", "An end lies after a beginning, which is said too.")
        return self


class StayOut(BaseModel):
    segment: str
    from_at: datetime
    until_at: datetime | None


class StaysOut(BaseModel):
    """Every stay of the member; one that ends as it begins was called off."""

    member_id: UUID
    stays: list[StayOut]


segments = Router(prefix="/v1/segments", tags=["members"])
of_member = Router(prefix="/v1/members", tags=["members"])
ROUTERS = (segments, of_member)


@segments.put(
    "/{segment}/members/{member_id}",
    response_model=StaysOut,
    responses=problems("not_found", "member_merged"),
)
async def put_member_in_segment(
    segment: Code,
    member_id: UUID,
    call: Annotated[Write, writes("members:write")],
    body: Annotated[StayBody | None, FromBody()] = None,
) -> Response:
    """Says that the member is in the segment, from then until then. Conditions ask for it by `member.segments`."""
    asked = body or StayBody()
    return await call.submit(PutInSegment(segment, member_id, asked.from_at, asked.until_at))


@segments.delete(
    "/{segment}/members/{member_id}",
    response_model=StaysOut,
    responses=problems("not_found", "member_merged"),
)
async def take_member_out_of_segment(
    segment: Code, member_id: UUID, call: Annotated[Write, writes("members:write")]
) -> Response:
    """Ends the member's stays in the segment now, and calls off those to come. What was judged stays as it was judged."""
    return await call.submit(TakeOutOfSegment(segment, member_id))


@of_member.get("/{member_id}/segments", response_model=StaysOut, responses=problems("not_found"))
async def get_segments_of_member(member_id: UUID, call: Annotated[Read, reads("members:read")]) -> Response:
    """Which segments the member is, was and will be in."""
    async with call.tenant.read() as db:
        if await store.member(db, member_id) is None:
            raise NotFound("There is no such member.")
        found = await stays_of(db, [member_id])
    return answer(Stays(member_id, found.get(member_id, [])))
