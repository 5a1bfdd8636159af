"""The job that releases reservations whose time is over: their points go back to the lots they were set aside from.

It keeps nothing of its own: what is to be done is what stands in the table past its time, and each is decided once more under
its wallet's lock. So it may run twice, on two machines, or be killed and run again; a page at a time is held in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain import reserving
from services.redeem.domain.redemption import Release, SettledAnswer
from services.redeem.store import expiring, redemptions, versions
from services.redeem.store.idle import idle_too, sweepable
from services.redeem.store.redemptions import Overdue
from shared.db import Connection
from shared.http.runtime import TenantRuntime
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Refused
from shared.money import Money, Worth, told
from shared.programme.validation import UnreadVersion
from shared.runtime import TenantRuntime as Running

JOB = "release-reservations"
EVERY_S = 15.0
PAGE = 200
"""Reservations that a step looks at."""

_settled = msgspec.json.Decoder(SettledAnswer).decode


class ReleasePlace(msgspec.Struct, frozen=True):
    """How far a walk has come: the last reservation that it met, by the end of its time."""

    at: datetime
    id: UUID


BEGIN = ReleasePlace(datetime.min.replace(tzinfo=UTC), UUID(int=0))


class OfProgramme(msgspec.Struct):
    """What is released of one programme: reservations, their points, and those of them that expire as they come back."""

    programme: str
    reservations: int
    released: Worth
    expired: Worth


class Released(msgspec.Struct):
    """What a run released, or a dry run would."""

    dry_run: bool
    reservations: int = 0
    programmes: list[OfProgramme] = []

    def add(self, programme: str, released: Worth, expired: Worth) -> None:
        """One more reservation."""
        self.reservations += 1
        for one in self.programmes:
            if one.programme == programme:
                one.reservations += 1
                one.released = _sum(one.released, released)
                one.expired = _sum(one.expired, expired)
                return
        self.programmes.append(OfProgramme(programme, 1, released, expired))


Progress = Callable[[Released], None]


async def release_reservations(
    runtime: TenantRuntime, *, dry_run: bool = False, progress: Progress | None = None
) -> Released:
    """Releases every reservation that was past its time when it began; `progress` hears of each page."""
    total, now = Released(dry_run), runtime.clock()
    place: ReleasePlace | None = BEGIN
    while place is not None:
        place = await release_step(runtime, total, place, now)
        if progress is not None:
            progress(total)
    return total


async def release_step(
    runtime: TenantRuntime, total: Released, place: ReleasePlace, now: datetime, *, most: int = PAGE
) -> ReleasePlace | None:
    """Releases the next reservations that were past their time at `now`, or looks what would come of it, and adds that to the
    total; gives where to go on, None after the last."""
    after = place.at, place.id
    if total.dry_run:
        async with runtime.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
            page = await redemptions.past_their_time(db, now=now, after=after, most=most)
            await _would_release(db, runtime.cache, total, page, now)
    else:
        async with runtime.read() as db:
            page = await redemptions.past_their_time(db, now=now, after=after, most=most)
        for answer in await asyncio.gather(*[_release(runtime, one) for one in page]):
            if answer is not None:
                total.add(answer.programme, answer.voided, answer.expired)
    return ReleasePlace(page[-1].expires_at, page[-1].redemption_id) if len(page) == most else None


async def release_now_and_then(runtime: Running) -> None:
    """One turn, for the service's own job."""
    await release_reservations(runtime)


async def _would_release(
    db: Connection, cache: dict[Any, Any], total: Released, page: list[Overdue], now: datetime
) -> None:
    """Decides about them as their release would, on copies of their wallets."""
    if not page:
        return
    wallets = await expiring.see_heirs(db, {one.wallet_id for one in page})
    ours, _ = await sweepable(db, cache, wallets.values())
    for wallet_id in wallets.keys() - {one.wallet_id for one in ours}:
        del wallets[wallet_id]
    page = [one for one in page if wallets.get(one.wallet_id) is not None]
    whole = await redemptions.load(db, [one.redemption_id for one in page])
    await redemptions.load_lots(db, whole.values(), wallets, now)
    await idle_too(db, cache, wallets, now)
    for one in page:
        redemption = whole[one.redemption_id]
        try:
            terms = await versions.promised(db, cache, redemption)
        except UnreadVersion:
            continue
        voided = reserving.void(wallets[one.wallet_id], redemption, terms=terms, now=now, new_id=uuid7)
        expired = voided.expired.points if voided.expired is not None else 0
        total.add(redemption.programme, terms.worth(voided.given_back.points), terms.worth(expired))


async def _release(runtime: TenantRuntime, one: Overdue) -> SettledAnswer | None:
    """What went back; None where it was settled meanwhile, or is left to a process that can read its programme."""
    item = Item(Release(one.redemption_id), FromJob(JOB), request_id=str(uuid7()), actor=f"job:{JOB}")
    try:
        outcome = await runtime.lane.submit(item)
    except UnreadVersion:
        return None
    match outcome:
        case Done(body=body):
            return _settled(body) if body else None
        case Refused(refusal):
            raise refusal


def _sum(one: Worth, other: Worth) -> Worth:
    money = Money(told(one.money.amount_minor + other.money.amount_minor), one.money.currency)
    return Worth(one.points + other.points, money)
