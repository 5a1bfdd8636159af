"""The job that releases reservations whose time is over: their points go back to the lots they were set aside from.

It keeps nothing of its own: what is to be done is what stands in the table past its time, and each is decided once more under
its wallet's lock. So it may run twice, on two machines, or be killed and run again; a page at a time is held in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from services.redeem.domain.redemption import Release, SettledAnswer
from services.redeem.store import learned
from services.redeem.store.redemptions import Overdue, past_their_time
from shared.http.runtime import TenantRuntime
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Refused
from shared.money import Money, Worth
from shared.runtime import TenantRuntime as Running

JOB = "release-reservations"
EVERY_S = 15.0
PAGE = 200

_FIRST = datetime.min.replace(tzinfo=UTC), UUID(int=0)
_settled = msgspec.json.Decoder(SettledAnswer).decode


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
    total, after, now = Released(dry_run), _FIRST, runtime.clock()
    while True:
        async with runtime.read() as db:
            page = await past_their_time(db, now=now, after=after, most=PAGE)
            for one in page if dry_run else ():
                terms = await learned.programme(db, runtime.cache, one.programme, one.programme_version)
                total.add(one.programme, terms.worth(one.points), terms.worth(one.dead))
        if not page:
            return total
        if not dry_run:
            for answer in await asyncio.gather(*[_release(runtime, one) for one in page]):
                if answer is not None:
                    total.add(answer.programme, answer.voided, answer.expired)
        if progress is not None:
            progress(total)
        after = page[-1].expires_at, page[-1].redemption_id


async def release_now_and_then(runtime: Running) -> None:
    """One turn, for the service's own job."""
    await release_reservations(runtime)


async def _release(runtime: TenantRuntime, one: Overdue) -> SettledAnswer | None:
    """What went back; None where it was settled meanwhile."""
    item = Item(Release(one.redemption_id), FromJob(JOB), request_id=str(uuid7()), actor=f"job:{JOB}")
    match await runtime.lane.submit(item):
        case Done(body=body):
            return _settled(body) if body else None
        case Refused(refusal):
            raise refusal


def _sum(one: Worth, other: Worth) -> Worth:
    money = Money(one.money.amount_minor + other.money.amount_minor, one.money.currency)
    return Worth(one.points + other.points, money)
