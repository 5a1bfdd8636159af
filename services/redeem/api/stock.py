"""Stock counts over HTTP: what lies where, against what the books say."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import msgspec
from fastapi import Query
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints
from starlette.responses import Response

from services.redeem.api.rewards import terms_of
from services.redeem.domain.rewards import RewardUnknown
from services.redeem.domain.stock import Count, ImportCounts
from services.redeem.store import reconciliation, rewards
from services.redeem.store import stock as store
from shared.http.bodies import Body, Day
from shared.http.cursors import Cursor, Limit, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.programme.model import Code
from shared.runtime import TenantRuntime

router = Router(prefix="/v1/stock-counts", tags=["rewards"])

MOST = 1_000
LOCATION = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?$"
Location = Annotated[str, StringConstraints(pattern=LOCATION)]
Number = Annotated[int, Field(ge=0, le=10**12)]
_NEWEST = (date.max, "~", "~")
"""After every day, and after every code: none begins with it."""


class CountBody(Body):
    """What lay at a location at the end of a day of the programme's calendar: sold and not handed out yet, too. `location`: a
    merchant, `merchant/terminal`, or a code of your own; of a merchant and its terminals only the one or the others have some on a
    day. `used`: handed out there in all by then, at a merchant or terminal."""

    programme: Code
    reward: Code
    location: Location
    day: Day
    on_hand: Number
    used: Number | None = None


class CountsBody(Body):
    """All of a day's locations of a reward belong into one call: a day is judged when all are counted that had some before."""

    counts: Annotated[list[CountBody], Field(min_length=1, max_length=MOST)]


class JudgedOut(BaseModel):
    """A number that was counted, beside the books'. `subject` is that of the difference, where they do not agree."""

    subject: str
    expected: str
    found: str
    agrees: bool


class CountsImportedOut(BaseModel):
    """`known`: those that were there before, word for word. `judged`: what the newest day on which every location counted says
    of each reward; `differences` of it do not agree, `closed` differences of before are closed by it."""

    counted: int
    known: int
    differences: int
    closed: int
    judged: list[JudgedOut]


class CountOut(BaseModel):
    programme: str
    reward: str
    location: str
    day: date
    on_hand: int
    used: int | None
    recorded_at: AwareDatetime


class CountsOut(BaseModel):
    items: list[CountOut]
    next_cursor: str | None


class CountPosition(msgspec.Struct):
    """The cursor of counts: the last one shown."""

    day: date
    reward: str
    location: str


@router.post(
    "",
    status_code=201,
    response_model=CountsImportedOut,
    responses={
        200: {"model": CountsImportedOut, "description": "All were known"},
        **problems(
            "stock_counts_invalid",
            "programme_unknown",
            "reward_unknown",
            "merchant_unknown",
            "terminal_unknown",
            "occurred_in_future",
            "stock_unlimited",
            "stock_count_conflict",
            "stock_count_too_early",
        ),
    },
)
async def import_counts(body: CountsBody, call: Annotated[Write, writes("rewards:write")]) -> Response:
    """Keeps counts, all or none, and holds them against the catalogue's stock. What does not agree is a difference that somebody
    has to deal with (`/v1/reconciliation/differences`, kind `stock`); nothing is repaired, and a later count that agrees closes
    it by a note."""
    counts = tuple(
        Count(one.programme, one.reward, one.location, one.day, one.on_hand, one.used) for one in body.counts
    )
    done = await call.submit(ImportCounts(counts))
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    async with runtime.read() as db:
        runtime.metrics.differences(runtime.code, await reconciliation.open_by_kind(db))
    return done


@router.get("", response_model=CountsOut, responses=problems("programme_unknown", "reward_unknown"))
async def list_counts(
    call: Annotated[Read, reads("rewards:read", one_merchant="own")],
    programme: Annotated[Code, Query(description="Of which programme.")],
    reward: Annotated[Code | None, Query(description="Without it: of all rewards.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """What was counted, the newest days first; with a token of one merchant there, and at its terminals."""
    position = decode_cursor(cursor, CountPosition)
    before = _NEWEST if position is None else (position.day, position.reward, position.location)
    async with call.tenant.read() as db:
        await terms_of(call, db, programme)
        if reward is not None and not await rewards.named(db, [(programme, reward)]):
            raise RewardUnknown(f"{programme} has no reward {reward}.", pointer="/reward")
        rows = await store.page(
            db, programme, reward, merchant=call.principal.merchant, before=before, most=limit + 1
        )
    last = rows[limit - 1] if len(rows) > limit else None
    place = None if last is None else CountPosition(last["day"], last["reward"], last["location"])
    return page([dict(row) for row in rows[:limit]], place)
