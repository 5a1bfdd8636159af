"""Benefits as a whole: the run that issues and writes off what is due, and what open ones cost."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel
from starlette.responses import Response

from services.redeem.api.shapes import MoneyOut
from services.redeem.benefits_due import run
from services.redeem.store import giving
from shared.http.bodies import Body
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.money import Money
from shared.programme.model import Code
from shared.runtime import TenantRuntime

router = Router(prefix="/v1/benefits", tags=["rewards"])


class RunBody(Body):
    """With `dry_run` it is only said what would be done."""

    dry_run: bool = False


class OfRewardOut(BaseModel):
    """Of a dry run both, of a run what was issued."""

    programme: str
    reward: str
    issued: int
    written_off: int
    written_off_minor: int


class RunOut(BaseModel):
    """Issued: to who has reached a reward's threshold. Written off: what expired unused."""

    dry_run: bool
    issued: int
    written_off: int
    rewards: list[OfRewardOut]


class LiabilityOut(BaseModel):
    """What a reward's open benefits would cost if all of them were used: issued, not used, not taken back, not written off.
    `expired`: the part of these that can't be used any more, and is about to be written off."""

    programme: str
    reward: str
    issued: int
    consumed: int
    consumed_cost: MoneyOut
    withdrawn: int
    written_off: int
    open: int
    liability: MoneyOut
    expired: int


class LiabilitiesOut(BaseModel):
    items: list[LiabilityOut]


@router.post("/runs", response_model=RunOut, responses=problems())
async def run_benefits(call: Annotated[Write, writes("ops:write")], body: RunBody | None = None) -> Response:
    """Issues and writes off what is due, as the jobs do by themselves. A repeat is another run: it finds less."""
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    return answer(await run(runtime, dry_run=body is not None and body.dry_run))


@router.get("/liability", response_model=LiabilitiesOut, responses=problems())
async def get_liability(
    call: Annotated[Read, reads("audit:read")],
    programme: Annotated[Code | None, Query(description="Without it each programme.")] = None,
) -> Response:
    """What open benefits cost, by reward."""
    async with call.tenant.read() as db:
        rows = await giving.liability(db, programme, call.tenant.clock())
    return answer({"items": [_shown(row) for row in rows]})


def _shown(row: giving.Liability) -> dict[str, object]:
    shown = row._asdict()
    currency, consumed, owed = (shown.pop(name) for name in ("currency", "consumed_minor", "open_minor"))
    return {**shown, "consumed_cost": Money(consumed, currency), "liability": Money(owed, currency)}
