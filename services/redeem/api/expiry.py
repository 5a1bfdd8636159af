"""The sweep over HTTP: what is due expires, a step at a time; and members are told of what soon will."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from services.redeem.domain.sweep import Expire, ExpireAnswer, Place
from services.redeem.store import due
from services.redeem.telling_expiry import tell_of_expiry, would_tell_of_expiry
from shared.http.bodies import Body
from shared.http.cursors import answer, decode_cursor, encode_cursor
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes
from shared.runtime import TenantRuntime

router = Router(prefix="/v1/expiry-runs", tags=["operations"])
notices = Router(prefix="/v1/notice-runs", tags=["operations"])


class ExpiryRunBody(Body):
    """A step of a run. The first has no `cursor`; the next goes on where the last one's answer says."""

    dry_run: bool = False
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    step: Annotated[int, Field(ge=1, le=due.STEP, description="Lots, or wallets, that it looks at.")] = (
        due.STEP
    )


class SweptOut(BaseModel):
    """What expired of a programme, or would have."""

    programme: str
    currency: str
    wallets: int
    lots: int
    points: int
    amount_minor: int


class ExpiryRunOut(BaseModel):
    """`next_cursor` null: the run is over."""

    dry_run: bool
    swept: list[SweptOut]
    next_cursor: str | None


@router.post("", response_model=ExpiryRunOut, responses=problems())
async def expire(body: ExpiryRunBody, call: Annotated[Write, writes("ops:write")]) -> Response:
    """Expires what is due in the next wallets, or says what it would expire. Steps may be broken off, repeated, and made by
    two at once: what has expired is due no more."""
    place = decode_cursor(body.cursor, Place) or Place()
    runtime = call.tenant
    async with runtime.read() as db:
        if body.dry_run:
            async with db.transaction(isolation="repeatable_read", readonly=True):
                swept, following = await due.would_expire(
                    db, runtime.cache, place, runtime.clock(), most=body.step
                )
            found = tuple(one for _, one in sorted(swept.items()))
            return answer(ExpireAnswer(True, found, _told(following)))
        wallet_ids, following = await due.next_due(db, runtime.cache, place, runtime.clock(), most=body.step)
    return await call.submit(Expire(tuple(wallet_ids), _told(following)))


class NoticeRunBody(Body):
    """With `dry_run` it is only said how many would be told."""

    dry_run: bool = False


class NoticeRunOut(BaseModel):
    """How many notices were given, or would be: one for a wallet, an instant and a notice day."""

    dry_run: bool
    notices: int


@notices.post("", response_model=NoticeRunOut, responses=problems())
async def notify(call: Annotated[Write, writes("ops:write")], body: NoticeRunBody | None = None) -> Response:
    """Tells members of points that soon expire, on the notice days of their programmes, as the service does every hour. A repeat is
    another run: what was told is told once."""
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    only_look = body is not None and body.dry_run
    told = await (would_tell_of_expiry(runtime) if only_look else tell_of_expiry(runtime))
    return answer({"dry_run": only_look, "notices": told})


def _told(place: Place | None) -> str | None:
    return encode_cursor(place) if place is not None else None
