"""The sweep over HTTP: what is due expires, a step at a time; and members are told of what soon will."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints
from starlette.responses import Response

from services.redeem.api.portions import PortionBody, time_is_up, told
from services.redeem.api.shapes import WorthOut
from services.redeem.domain.jobs import JobDone
from services.redeem.domain.sweep import Expire, ExpireAnswer, Place, Swept, ToExpire, count
from services.redeem.jobs.telling_expiry import NoticeWalk, begin_telling, tell_step, would_tell_step
from services.redeem.store import due
from services.redeem.store.noticing import ToTell
from shared.http.bodies import Body
from shared.http.cursors import answer, decode_cursor
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


class ToExpireOut(BaseModel):
    """What would expire of a wallet, in one posting."""

    wallet_id: UUID
    member_id: UUID
    programme: str
    currency: str
    lots: int
    points: int
    amount_minor: int


class ExpiryRunOut(BaseModel):
    """`to_expire`: each wallet, of a dry run only; later `points.expired.v1` tells them. `next_cursor` null: the run is over."""

    dry_run: bool
    swept: list[SweptOut]
    next_cursor: str | None
    to_expire: list[ToExpireOut]


@router.post("", response_model=ExpiryRunOut, responses=problems())
async def expire(body: ExpiryRunBody, call: Annotated[Write, writes("ops:write")]) -> Response:
    """Expires what is due in the next wallets, or says what it would expire. Steps may be broken off, repeated, and made by
    two at once: what has expired is due no more."""
    place = decode_cursor(body.cursor, Place) or Place()
    runtime = call.tenant
    async with runtime.read() as db:
        if body.dry_run:
            async with db.transaction(isolation="repeatable_read", readonly=True):
                found, following = await due.would_expire(
                    db, runtime.cache, place, runtime.clock(), most=body.step
                )
            return answer(_would_expire(found, following))
        wallet_ids, following = await due.next_due(db, runtime.cache, place, runtime.clock(), most=body.step)
    return await call.submit(Expire(tuple(wallet_ids), told(following)))


def _would_expire(found: list[ToExpire], following: Place | None) -> ExpireAnswer:
    swept: dict[str, Swept] = {}
    for one in found:
        count(swept, one)
    by_programme = tuple(one for _, one in sorted(swept.items()))
    return ExpireAnswer(True, by_programme, told(following), tuple(found))


class NoticeRunBody(PortionBody):
    """With `dry_run` it is only said who would be told of what; it ends too when it has found some 500 notices."""

    step: Annotated[int, Field(ge=1, le=due.STEP, description="Lots, or wallets, that a step looks at.")] = (
        due.STEP
    )


class ToTellOut(BaseModel):
    """What a member would be told: so much of this wallet expires then; the notice of so many `days` before."""

    wallet_id: UUID
    member_id: UUID
    programme: str
    expires_at: AwareDatetime
    days: int
    expiring: WorthOut


class NoticeRunOut(BaseModel):
    """How many notices this call gave, or would: one for a wallet, an instant and a notice day. `to_tell`: each of them, of a dry
    run only; afterwards `points.expiring.v1` tells them. `next_cursor` null: the run is over."""

    dry_run: bool
    notices: int
    to_tell: list[ToTellOut]
    next_cursor: str | None


@notices.post("", response_model=NoticeRunOut, responses=problems())
async def notify(call: Annotated[Write, writes("ops:write")], body: NoticeRunBody | None = None) -> Response:
    """Tells members of points that soon expire, on the notice days of their programmes, as the service does every hour: a portion
    of them. Portions may be broken off, repeated, and made by two at once: what was told is told once."""
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    asked = body if body is not None else NoticeRunBody()
    over, given, to_tell = time_is_up(asked.within_s), 0, list[ToTell]()
    walk = decode_cursor(asked.cursor, NoticeWalk) or await begin_telling(runtime)
    while walk is not None:
        if asked.dry_run:
            found, walk = await _would_tell(runtime, walk, most=asked.step)
            to_tell += found
        else:
            more, walk = await tell_step(runtime, walk, most=asked.step)
            given += more
        if over() or len(to_tell) >= due.STEP:
            break
    notices = len(to_tell) if asked.dry_run else given
    content = {"dry_run": asked.dry_run, "notices": notices, "to_tell": to_tell, "next_cursor": told(walk)}
    if asked.dry_run:
        return answer(content)
    return await call.submit(JobDone(200, msgspec.json.encode(content)))


async def _would_tell(
    runtime: TenantRuntime, walk: NoticeWalk, *, most: int
) -> tuple[list[ToTell], NoticeWalk | None]:
    async with runtime.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
        return await would_tell_step(db, runtime.cache, walk, runtime.clock(), most=most)
