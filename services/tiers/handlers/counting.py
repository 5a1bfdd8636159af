"""Points are counted, versions learned, and standings moved by them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog

from services.tiers import segments, store
from services.tiers.domain import QUALIFYING, Change, Earned, Programme, is_over, judge, moves, rejudge
from services.tiers.domain import Known as Told
from services.tiers.store import Known, Learned, Locked, Opened, Unplaced
from services.tiers.telling import cause_of, write
from shared.events import MemberEnrolled, PointsCredited, PointsReversed, ProgrammeActivated
from shared.messaging import Done, FromJob, Item, Outcome, Tx

log = structlog.get_logger(__name__)

SETTLE_AT_ONCE = 500
"""Wallets, or waiting facts, that one settling takes: it holds their locks for one short transaction."""


class Settle(msgspec.Struct, frozen=True):
    """Judge some of what a programme's latest version has not judged yet. Sent by the job until nothing is left."""

    programme: str
    version: int


class Fact(msgspec.Struct, frozen=True, gc=False):
    """A wallet was opened (no points), earned points that qualify, or had some taken back (below zero). They count where
    they were earned (`counts_at`); `item` is what told of it."""

    wallet_id: UUID
    member_id: UUID
    programme: str
    points: int
    effective_at: datetime
    item: Item[Any]
    earned_at: datetime | None = None

    @property
    def counts_at(self) -> datetime:
        return self.earned_at or self.effective_at


async def learn_programmes(tx: Tx, items: Sequence[Item[ProgrammeActivated]]) -> list[Outcome]:
    """Keeps each version; the job then settles what waited for it."""
    await store.await_programmes(tx.db, {item.command.programme for item in items})
    await store.learn_programmes(
        tx.db,
        [
            Learned(
                item.command.programme,
                item.command.version,
                item.command.document,
                item.command.activated_at,
                cause_of(item),
                item.request_id,
            )
            for item in items
        ],
    )
    tx.after_commit(settle_wake(tx.cache).set)
    return [Done()] * len(items)


async def count_points(
    tx: Tx, items: Sequence[Item[PointsCredited | PointsReversed | MemberEnrolled]]
) -> list[Outcome]:
    """Adds what qualifies, takes off what was taken back, and moves the standings that it moves."""
    facts = list(_facts(items))
    if facts:
        await _count(tx, facts, await _versions(tx, {fact.programme for fact in facts}))
    return [Done()] * len(items)


async def settle(tx: Tx, items: Sequence[Item[Settle]]) -> list[Outcome]:
    """Places points that waited for their programme, then judges wallets by a version that has not judged them yet."""
    outcomes: list[Outcome] = []
    for item in items:
        code, version = item.command.programme, item.command.version
        waiting = await store.take_unplaced(tx.db, code, SETTLE_AT_ONCE)
        if waiting:
            await _count(tx, [_waited(code, one) for one in waiting], {code: version})
        else:
            await _rejudge(tx, await programme_of(tx, code, version))
        outcomes.append(Done())
    return outcomes


def _facts(items: Iterable[Item[PointsCredited | PointsReversed | MemberEnrolled]]) -> Iterator[Fact]:
    for item in items:
        heard = item.command
        if isinstance(heard, PointsCredited):
            if heard.kind in QUALIFYING:
                yield Fact(
                    heard.resolved_wallet or heard.wallet_id,
                    heard.member_id,
                    heard.programme,
                    heard.credited.points,
                    heard.effective_at,
                    item,
                )
        elif isinstance(heard, PointsReversed):
            taken = heard.reversed.points + heard.hold_cancelled.points + heard.owed.points
            if taken:
                yield Fact(
                    heard.resolved_wallet or heard.wallet_id,
                    heard.member_id,
                    heard.programme,
                    -taken,
                    heard.effective_at,
                    item,
                    heard.earned_at,
                )
        else:
            for wallet in heard.wallets:
                yield Fact(wallet.wallet_id, heard.member_id, wallet.programme, 0, heard.enrolled_at, item)


async def _versions(tx: Tx, codes: set[str]) -> dict[str, int]:
    """The version that judges, by programme; an unknown one is looked for again under the lock of the meeting."""
    versions = await store.latest_versions(tx.db, codes)
    if unknown := codes - versions.keys():
        await store.await_programmes(tx.db, unknown)
        versions |= await store.latest_versions(tx.db, unknown)
    return versions


async def programme_of(tx: Tx, code: str, version: int) -> Known:
    return await store.known(tx.db, tx.cache, code, version)


async def _count(tx: Tx, facts: Sequence[Fact], versions: Mapping[str, int]) -> None:
    by_wallet: dict[UUID, list[Fact]] = {}
    for fact in facts:
        by_wallet.setdefault(fact.wallet_id, []).append(fact)
    # What only a later release can read is as good as unknown here: its points wait for a process of that one.
    read = await store.readable(tx.db, tx.cache, versions.items())
    programmes = {code: known.programme for (code, _), known in read.items()}
    _tell_unread(tx, versions.items() - read.keys())
    wallet_ids = sorted(by_wallet)
    first = [by_wallet[wallet_id][0] for wallet_id in wallet_ids]
    await store.open_standings(
        tx.db,
        [
            Opened(
                one.wallet_id,
                one.member_id,
                one.programme,
                versions[one.programme] if one.programme in programmes else 0,
            )
            for one in first
        ],
    )
    standings = await store.lock_standings(tx.db, wallet_ids)
    if standings.heirs:
        facts = [msgspec.structs.replace(fact, wallet_id=standings.home(fact.wallet_id)) for fact in facts]
        by_wallet = {}
        for fact in facts:
            by_wallet.setdefault(fact.wallet_id, []).append(fact)
    await _keep_unplaced(tx, [fact for fact in facts if fact.programme not in programmes])
    # One moment for both: what ends between two of them would be judged without its other years.
    now = tx.now()
    over = {one for one, wallet in standings.of.items() if is_over(wallet.standing, now)}
    sums = await _add_points(tx, [fact for fact in facts if fact.programme in programmes], programmes, over)

    told = await _told(tx, standings.of, [one for one in programmes.values() if one.asks_segments], now)
    changes: list[tuple[UUID, Programme, Change, Item[Any]]] = []
    moved: dict[UUID, Locked] = {}
    for wallet_id, wallet in standings.of.items():
        own = by_wallet[wallet_id]
        programme = programmes.get(own[0].programme)
        after = sums.get(wallet_id, {})
        if programme is None:
            continue
        if not any(one.points < 0 for one in own) and not moves(
            programme, wallet.standing, sums=after, known=told(wallet)
        ):
            continue
        earned = [Earned(programme.year_of(one.counts_at), one.points, one.effective_at) for one in own]
        wallet.standing, found = judge(
            programme, wallet.standing, earned, before=_before(after, earned), known=told(wallet)
        )
        moved[wallet_id] = wallet
        changes += [(wallet_id, programme, change, own[at].item) for change, at in found]
    await write(tx, moved, changes)


def _tell_unread(tx: Tx, versions: Set[tuple[str, int]]) -> None:
    """Once in a process for each: nothing is tried again here, so no counter of retries tells of it."""
    told: set[tuple[str, int]] = tx.cache.setdefault("told as unread", set())
    for code, version in sorted(versions - told):
        told.add((code, version))
        log.warning(
            "what a later release activated is left to it",
            tenant=tx.tenant.code,
            programme=code,
            version=version,
        )


async def _told(
    tx: Tx, locked: Mapping[UUID, Locked], asking: Sequence[Programme], now: datetime
) -> Callable[[Locked], Told]:
    """What conditions know of a wallet's member by now. Segments are read after the wallets are locked, and only where some
    ladder asks for them: whoever tells of one judges after it, under the same locks."""
    if not asking:
        nothing = Told(now)
        return lambda _: nothing
    known = await segments.segments_at(tx.db, {wallet.member_id for wallet in locked.values()}, now)
    return lambda wallet: Told(now, known.get(wallet.member_id, frozenset()))


def _before(after: Mapping[int, int], earned: Iterable[Earned]) -> dict[int, int]:
    before = dict(after)
    for one in earned:
        before[one.year] = before.get(one.year, 0) - one.points
    return before


async def _keep_unplaced(tx: Tx, facts: Sequence[Fact]) -> None:
    waiting = [fact for fact in facts if fact.points]
    if waiting:
        await store.keep_unplaced(
            tx.db,
            {cause_of(fact.item): fact.programme for fact in waiting},
            [
                Unplaced(
                    cause_of(fact.item),
                    fact.wallet_id,
                    fact.member_id,
                    fact.points,
                    fact.counts_at,
                    fact.item.request_id,
                    fact.item.traceparent,
                )
                for fact in waiting
            ],
        )


async def _add_points(
    tx: Tx, facts: Sequence[Fact], programmes: Mapping[str, Programme], over: Set[UUID]
) -> dict[UUID, dict[int, int]]:
    """The sums after adding: of the years that points went to, or of all years where a lifetime counts, something was
    taken back, or the standing is over."""
    added: dict[tuple[UUID, int], int] = {}
    for fact in facts:
        if fact.points:
            key = (fact.wallet_id, programmes[fact.programme].year_of(fact.counts_at))
            added[key] = added.get(key, 0) + fact.points
    sums = await store.add_points(tx.db, added) if added else {}
    whole = {
        fact.wallet_id
        for fact in facts
        if fact.points < 0 or fact.wallet_id in over or programmes[fact.programme].lifecycle == "lifetime"
    }
    if whole:
        sums |= await store.points_by_year(tx.db, sorted(whole))
    return sums


async def _rejudge(tx: Tx, known: Known) -> None:
    """Judges by a version all years of some wallets that it has not judged."""
    programme = known.programme
    wallet_ids = await store.unjudged(tx.db, programme.code, programme.version, SETTLE_AT_ONCE)
    item = job_item(cause=known.event_id, request_id=known.request_id)
    await judge_again(
        tx, programme, dict.fromkeys(wallet_ids, item), at=known.activated_at, version=programme.version
    )


async def judge_again(
    tx: Tx,
    programme: Programme,
    items: Mapping[UUID, Item[Any]],
    *,
    at: datetime,
    version: int = 0,
) -> None:
    """Judges all years of these wallets, or of their heirs, each for what the item tells. `version`: which has judged them then."""
    standings = await store.lock_standings(tx.db, sorted(items))
    locked, told_by = standings.of, {standings.home(one): item for one, item in items.items()}
    sums = await store.points_by_year(tx.db, sorted(locked))
    told = await _told(tx, locked, [programme] if programme.asks_segments else [], tx.now())
    changes: list[tuple[UUID, Programme, Change, Item[Any]]] = []
    moved: dict[UUID, Locked] = {}
    for wallet_id, wallet in locked.items():
        wallet.judged_version = max(wallet.judged_version, version)
        wallet.standing, found = rejudge(
            programme, wallet.standing, by_year=sums.get(wallet_id, {}), at=at, known=told(wallet)
        )
        if found or version:
            moved[wallet_id] = wallet
        changes += [(wallet_id, programme, change, told_by[wallet_id]) for change in found]
    await write(tx, moved, changes)


def _waited(programme: str, one: Unplaced) -> Fact:
    item = job_item(cause=one.event_id, request_id=one.request_id, traceparent=one.traceparent)
    return Fact(one.wallet_id, one.member_id, programme, one.points, one.effective_at, item)


def job_item(*, cause: str, request_id: str, traceparent: str | None = None) -> Item[None]:
    """Stands for the event that a settled change goes back to, so that the change names its real cause."""
    return Item(
        None,
        FromJob("settle"),
        request_id=request_id,
        actor="tiers",
        causation_id=cause,
        traceparent=traceparent,
    )


def settle_wake(cache: dict[Any, Any]) -> asyncio.Event:
    """Set when a programme was learned; the job's poll is the second guard."""
    wake = cache.setdefault("settle_wake", asyncio.Event())
    assert isinstance(wake, asyncio.Event)
    return wake
