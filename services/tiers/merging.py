"""Wallets that become one: both their years add up, and the heir stands where the sums say, never lower than the better of both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.tiers import store
from services.tiers.domain import Change, Earned, Known, Programme, Standing, judge, take_over
from services.tiers.segments import segments_at
from services.tiers.store import Locked, Opened, Standings
from services.tiers.telling import write
from shared.events import MemberMerged, MergedWallet
from shared.messaging import Done, Item, Outcome, Tx
from shared.sql import load

queries = load("services.tiers", "merging.sql")

_numbers = msgspec.json.Decoder(dict[str, int]).decode

Moved = tuple[UUID, Programme, Change, Item[Any]]
"""A wallet whose standing moved, by which version, how, and what told it."""


async def merge_members(tx: Tx, items: Sequence[Item[MemberMerged]]) -> list[Outcome]:
    """Merges the standings of wallets that were merged, once each."""
    told = [item.command for item in items]
    versions = await store.latest_versions(
        tx.db, {wallet.programme for one in told for wallet in one.survivor_wallets}
    )
    owners: dict[UUID, tuple[UUID, str]] = {}
    for one in told:
        owners |= {wallet.wallet_id: (one.member_id, wallet.programme) for wallet in one.wallets}
        owners |= {wallet.wallet_id: (one.merged_into, wallet.programme) for wallet in one.survivor_wallets}
    # What can't be read here has judged nobody; a merge of its wallets waits for who can (`store.known`).
    read = {code for code, _ in await store.readable(tx.db, tx.cache, versions.items())}
    await store.open_standings(
        tx.db,
        [
            Opened(wallet_id, member_id, programme, versions[programme] if programme in read else 0)
            for wallet_id, (member_id, programme) in sorted(owners.items())
        ],
    )
    locked = await store.lock_standings(tx.db, sorted(owners))
    moved: dict[UUID, Locked] = {}
    changes: list[Moved] = []
    for item in items:
        for pair in item.command.wallets:
            changes += await _merge(tx, item, pair, versions.get(pair.programme), locked, moved, changes)
    await write(tx, moved, changes)
    return [Done()] * len(items)


async def _merge(
    tx: Tx,
    item: Item[MemberMerged],
    pair: MergedWallet,
    version: int | None,
    locked: Standings,
    moved: dict[UUID, Locked],
    before: Sequence[Moved],
) -> list[Moved]:
    ended, heir = pair.wallet_id, locked.home(pair.merged_into)
    if locked.home(ended) != ended or ended == heir:
        return []  # it was merged already
    sums = await store.points_by_year(tx.db, sorted((ended, heir)))
    await queries.merge_qualifications(tx.db, wallet_id=ended, heir=heir)
    await queries.end_standing(tx.db, wallet_id=ended, heir=heir)
    locked.end(ended, heir)
    if version is None:
        return []  # nothing was judged yet of either
    known = await store.known(tx.db, tx.cache, pair.programme, version)
    programme, at, now = known.programme, item.command.merged_at, tx.now()
    earned = [
        Earned(year, points, at)
        for year, points in sorted({programme.year_of(at): 0, **sums.get(ended, {})}.items())
    ]
    wallet = moved[heir] = locked.of[heir]
    mine = await segments_at(tx.db, [wallet.member_id], now) if programme.asks_segments else {}
    told = Known(now, mine.get(wallet.member_id, frozenset()))
    wallet.standing, found = judge(programme, wallet.standing, earned, before=sums.get(heir, {}), known=told)
    changes = [(heir, programme, change, item) for change, _ in found]
    last = await _last_change(tx, ended, before)
    had, stands = locked.of[ended].standing, wallet.standing
    taken = None if last is None else _take_over(programme, last, had, stands, at=at, now=now)
    if taken is not None:
        of, change = taken
        wallet.standing = wallet.standing.after(change)
        changes.append((heir, of, change, item))
    return changes


class _Decided(NamedTuple):
    """What a standing rests on: the version that gave it, with the numbers and what conditions were told."""

    of: Programme
    numbers: dict[str, int]
    facts: dict[str, Any] | None


async def _last_change(tx: Tx, wallet_id: UUID, before: Sequence[Moved]) -> _Decided | None:
    """Of what moved in this batch nothing is written yet: who was merged into before is merged with what it got."""
    for moved_id, of, change, _ in reversed(before):
        if moved_id == wallet_id:
            return _Decided(of, change.numbers, change.facts)
    last = await queries.last_change(tx.db, wallet_id=wallet_id)
    if last is None:
        return None
    known = await store.known(tx.db, tx.cache, last["programme"], last["programme_version"])
    return _Decided(known.programme, _numbers(last["numbers"]), _facts(last["facts"]))


def _take_over(
    programme: Programme, last: _Decided, had: Standing, stands: Standing, *, at: datetime, now: datetime
) -> tuple[Programme, Change] | None:
    """The other's standing, where the sums do not come to it: it rests on what another version said, and is kept by that."""
    change = take_over(
        programme, last.of, stands, had, numbers=last.numbers, facts=last.facts, at=at, now=now
    )
    return None if change is None else (last.of, change)


def _facts(text: str | None) -> dict[str, Any] | None:
    return None if text is None else msgspec.json.decode(text, type=dict[str, Any])
