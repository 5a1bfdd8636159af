"""What a reconciliation would compare and find, said without a write and without the seal that it would begin with: what no seal
has yet is found by walking over the wallets and gift cards themselves; docs/decisions/0247 argues it."""

from __future__ import annotations

from datetime import date
from typing import Literal
from uuid import UUID

import msgspec

from services.redeem.domain.reconciliation import LEAVES, SealCompared
from services.redeem.jobs.reconciling import (
    MOST_TOLD,
    Enough,
    Progress,
    Total,
    reconcile_days,
    to_the_end,
    unheard,
)
from services.redeem.jobs.sealing import new_since
from services.redeem.store import reconciliation, told_events
from services.redeem.store.reconciliation import Found, Walked
from services.redeem.store.seals import Holder
from shared.db import Connection, Pool

Phase = Literal["sealed", "wallet", "card", "events", "days"]
HEADS = 2_000
"""Looked at in one step, for those that no seal has."""


class DryPlace(msgspec.Struct, frozen=True):
    """How far a dry run has come. `sealed`: over what seals name, as far as `run` is; `wallet` and `card`: over those that the
    seals of `walked` do not name as they are now, as far as `last`; `events`: the last seal; `days`: the last day."""

    phase: Phase = "sealed"
    walked: Walked | None = None
    run: reconciliation.Run | None = None
    last: UUID = UUID(int=0)
    seal: int = 0
    day: date | None = None


class _Said:
    """What was said so far: the sum, and the first of what does not agree."""

    def __init__(self, progress: Progress) -> None:
        self.total, self.found, self._progress = Total(), list[Found](), progress

    def add(self, total: Total, found: list[Found]) -> None:
        self.total += total
        self.found += found[: MOST_TOLD - len(self.found)]
        self._progress(self.total)


async def would_reconcile(pool: Pool, progress: Progress = unheard) -> tuple[Total, list[Found]]:
    """What a run would compare and find now, and the first of it."""
    total, told, _ = await would_reconcile_on(pool, None, to_the_end, progress)
    return total, told


async def would_reconcile_on(
    pool: Pool, place: DryPlace | None, enough: Enough, progress: Progress = unheard
) -> tuple[Total, list[Found], DryPlace | None]:
    """A portion of it, from a place on (None: from the beginning), and where to go on; None: it is over. At least one step is
    made."""
    said = _Said(progress)
    async with pool.acquire() as db:
        place = place or await _begin(db)
        while place.phase != "days":
            place, stepped = await _step(db, place, said)
            if stepped and enough():
                return said.total, said.found, place
    total, apart, day = await reconcile_days(pool, place.day, enough, None, said.total, progress)
    found = [*said.found, *apart][:MOST_TOLD]
    return total, found, None if day is None else DryPlace("days", day=day)


async def _begin(db: Connection) -> DryPlace:
    run = await reconciliation.next_run(db)
    walked = await reconciliation.walked(db, run)
    return DryPlace("sealed", walked, run) if run is not None else DryPlace("wallet", walked)


async def _step(db: Connection, place: DryPlace, said: _Said) -> tuple[DryPlace, bool]:
    """The place after a step, and whether there was anything in it."""
    match place.phase:
        case "sealed":
            return await _sealed(db, place, said), True
        case "wallet" | "card":
            return await _heads(db, place, place.phase, said)
        case _:
            return await _events(db, place, said)


async def _sealed(db: Connection, place: DryPlace, said: _Said) -> DryPlace:
    """The next leaves of seals."""
    assert place.run is not None
    page = await reconciliation.next_page(db, place.run, most=LEAVES)
    found = await reconciliation.compare(db, page)
    said.add(Total(len(page.wallet_ids), len(found)), found)
    if not page.more:
        return DryPlace("wallet", place.walked)
    run = reconciliation.advanced(place.run, page, found)
    return msgspec.structs.replace(place, run=run)


async def _heads(db: Connection, place: DryPlace, holder: Holder, said: _Said) -> tuple[DryPlace, bool]:
    """The next wallets, or gift cards, that were posted to since those seals."""
    assert place.walked is not None
    page, last = await reconciliation.new_page(db, holder, place.walked, after=place.last, most=HEADS)
    if last is None:
        return (DryPlace("card", place.walked) if holder == "wallet" else DryPlace("events")), False
    found = await reconciliation.compare(db, page)
    if met := len(page.wallet_ids):
        said.add(Total(met, len(found)), found)
    elif found:
        said.add(Total(differences=len(found)), found)
    return msgspec.structs.replace(place, last=last), True


async def _events(db: Connection, place: DryPlace, said: _Said) -> tuple[DryPlace, bool]:
    """The postings of the next seal; after the last one, of what none has."""
    done = await told_events.compare_next(db, place.seal)
    if done is not None:
        _add_events(said, done)
        return DryPlace("events", seal=done.no), True
    done = await told_events.compare_unsealed(db, await new_since(db))
    if done.postings or done.apart:
        _add_events(said, done)
    return DryPlace("days"), True


def _add_events(said: _Said, done: SealCompared) -> None:
    said.add(
        Total(differences=len(done.apart), postings=done.postings),
        [Found("events", *one) for one in done.apart],
    )
