"""The HTTP side of birthdays: an operator asks for what the job does by itself."""

from typing import Annotated

from fastapi import Body as FromBody
from pydantic import BaseModel
from starlette.responses import Response

from services.members.domain.birthdays import TellBirthdays
from shared.http.bodies import Body
from shared.http.routing import Router
from shared.http.writes import Write, writes

birthdays = Router(prefix="/v1/birthdays", tags=["members"])
ROUTERS = (birthdays,)


class TellBody(Body):
    """`dry_run`: nothing is told, only counted."""

    dry_run: bool = False


class TurnOut(BaseModel):
    """What one turn came to: birthdays, and stays in the segments around them. `left`: above 0 when more of either are due."""

    told: int
    left: int
    dry_run: bool
    stays: int


@birthdays.post("/tell", status_code=200, response_model=TurnOut)
async def tell(
    asked: Annotated[TellBody, FromBody()], call: Annotated[Write, writes("ops:write")]
) -> Response:
    """Tells of birthdays that are due, once for each member, programme and year; asked again until nothing is left. Safe at any
    time, twice, and beside the job that does the same."""
    return await call.submit(TellBirthdays(asked.dry_run))
