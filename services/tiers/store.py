"""The queries of tiers, typed: rows in, domain values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.tiers.domain import Change, Programme, Standing, read_programme
from shared.db import Connection
from shared.programme.validation import UnreadVersion, must_be_known
from shared.sql import load

queries = load("services.tiers")

OF_OTHERS = frozenset({"earning", "redemption", "adjustments", "expiry", "gift_cards"})
"""Sections of a document that say nothing of tiers."""

_encode = msgspec.json.Encoder().encode


class Known(NamedTuple):
    """A version of a programme with the event that activated it."""

    programme: Programme
    activated_at: datetime
    event_id: str
    request_id: str


class Learned(NamedTuple):
    """An activated version as it was heard."""

    programme: str
    version: int
    document: Mapping[str, Any]
    activated_at: datetime
    event_id: str
    request_id: str


class Opened(NamedTuple):
    """A wallet that may need a standing; version 0: its programme is not known."""

    wallet_id: UUID
    member_id: UUID
    programme: str
    version: int


class Locked(msgspec.Struct, gc=False):
    """A standing whose row is locked, with the version that has judged all of it."""

    member_id: UUID
    standing: Standing
    judged_version: int


class MovedMeanwhile(OSError):
    """A wallet was merged while its lock was waited for. An OSError, for the lane to try again."""


class Standings(msgspec.Struct):
    """Locked standings by wallet, and which of the wallets that were named have become another: its heir stands there instead."""

    of: dict[UUID, Locked]
    heirs: dict[UUID, UUID]

    def home(self, wallet_id: UUID) -> UUID:
        """The wallet that counts for this one."""
        return self.heirs.get(wallet_id, wallet_id)

    def end(self, wallet_id: UUID, heir: UUID) -> None:
        """One was merged into the other."""
        for ended, home in self.heirs.items():
            if home == wallet_id:
                self.heirs[ended] = heir
        self.heirs[wallet_id] = heir


class Unplaced(NamedTuple):
    """Points that waited for their programme."""

    event_id: str
    wallet_id: UUID
    member_id: UUID
    points: int
    effective_at: datetime
    request_id: str
    traceparent: str | None


class Noted(NamedTuple):
    """A change with where it belongs."""

    wallet_id: UUID
    programme: Programme
    change: Change
    cause: str


async def latest_versions(db: Connection, programmes: Iterable[str]) -> dict[str, int]:
    """The version that judges, by programme; those that are not known are left out."""
    rows = await queries.latest_versions(db, programmes=sorted(programmes))
    return {row["programme"]: row["version"] for row in rows}


async def await_programmes(db: Connection, programmes: Iterable[str]) -> None:
    """Locks where those who wait for these programmes and those who bring them meet."""
    await queries.await_programmes(db, programmes=sorted(programmes))


async def known_programme(db: Connection, code: str, version: int) -> Known:
    """One activated version, which must have been heard. Refuses tenant_migrating where it says of tiers what this release does
    not know."""
    row = await queries.programme_document(db, programme=code, version=version)
    document = msgspec.json.decode(row["document"])
    must_be_known(document, besides=OF_OTHERS)
    return Known(
        read_programme(code, version, document), row["activated_at"], row["event_id"], row["request_id"]
    )


async def known(db: Connection, cache: dict[Any, Any], code: str, version: int) -> Known:
    """The same, asked once in a process, also of what can't be read here."""
    key = (Known, code, version)
    if key not in cache:
        try:
            cache[key] = await known_programme(db, code, version)
        except UnreadVersion as refusal:
            cache[key] = refusal
    found = cache[key]
    if isinstance(found, UnreadVersion):
        raise UnreadVersion(found.detail)
    assert isinstance(found, Known)
    return found


async def readable(
    db: Connection, cache: dict[Any, Any], versions: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], Known]:
    """Those of these versions that can be read here, in their order: what only a later release can read is left to it."""
    found = {}
    for code, version in versions:
        with suppress(UnreadVersion):
            found[code, version] = await known(db, cache, code, version)
    return found


async def learn_programmes(db: Connection, learned: Sequence[Learned]) -> None:
    """Keeps activated versions for ever."""
    await queries.learn_programmes(
        db,
        programmes=[one.programme for one in learned],
        versions=[one.version for one in learned],
        documents=[_encode(one.document).decode() for one in learned],
        activated_ats=[one.activated_at for one in learned],
        event_ids=[one.event_id for one in learned],
        request_ids=[one.request_id for one in learned],
    )


async def open_standings(db: Connection, wallets: Sequence[Opened]) -> None:
    """Makes the standings that are missing."""
    await queries.open_standings(
        db,
        wallet_ids=[one.wallet_id for one in wallets],
        member_ids=[one.member_id for one in wallets],
        programmes=[one.programme for one in wallets],
        versions=[one.version for one in wallets],
    )


async def lock_standings(db: Connection, wallet_ids: Sequence[UUID]) -> Standings:
    """The standings of these wallets, or of their heirs, locked in their order. Raises MovedMeanwhile."""
    found = Standings({}, {})
    for row in await queries.lock_standings(db, wallet_ids=wallet_ids):
        wallet_id, member_id, tier, since, until, sequence, judged_version, heir, asked_as = row
        if heir is not None:
            raise MovedMeanwhile(f"wallet {wallet_id} was merged")
        found.of[wallet_id] = Locked(member_id, Standing(tier, since, until, sequence), judged_version)
        found.heirs.update(dict.fromkeys(asked_as, wallet_id))
    return found


async def add_points(db: Connection, added: Mapping[tuple[UUID, int], int]) -> dict[UUID, dict[int, int]]:
    """Adds points by (wallet, year); gives the new sums of those years."""
    keys = sorted(added)
    rows = await queries.add_points(
        db,
        wallet_ids=[wallet_id for wallet_id, _ in keys],
        years=[year for _, year in keys],
        points=[added[key] for key in keys],
    )
    return _by_year(rows)


async def points_by_year(db: Connection, wallet_ids: Sequence[UUID]) -> dict[UUID, dict[int, int]]:
    """All that wallets have earned, by year."""
    return _by_year(await queries.points_by_year(db, wallet_ids=wallet_ids))


def _by_year(rows: Iterable[tuple[UUID, int, int]]) -> dict[UUID, dict[int, int]]:
    found: dict[UUID, dict[int, int]] = {}
    for wallet_id, year, points in rows:
        found.setdefault(wallet_id, {})[year] = points
    return found


async def move_standings(db: Connection, moved: Mapping[UUID, Locked]) -> None:
    """Writes where locked wallets stand now."""
    wallets = list(moved.values())
    await queries.move_standings(
        db,
        wallet_ids=list(moved),
        tiers=[one.standing.tier for one in wallets],
        sinces=[one.standing.since for one in wallets],
        untils=[one.standing.until for one in wallets],
        sequences=[one.standing.sequence for one in wallets],
        judged_versions=[one.judged_version for one in wallets],
    )


async def add_history(db: Connection, noted: Sequence[Noted]) -> None:
    """Notes changes, each with the rule, version and numbers that decided it."""
    await queries.add_history(
        db,
        wallet_ids=[one.wallet_id for one in noted],
        sequences=[one.change.sequence for one in noted],
        from_tiers=[one.change.from_tier for one in noted],
        to_tiers=[one.change.to.code for one in noted],
        directions=[one.change.direction for one in noted],
        rules=[_encode(one.change.to.entry).decode() for one in noted],
        programmes=[one.programme.code for one in noted],
        programme_versions=[one.programme.version for one in noted],
        numbers=[_encode(one.change.numbers).decode() for one in noted],
        effective_ats=[one.change.effective_at for one in noted],
        untils=[one.change.until for one in noted],
        causes=[one.cause for one in noted],
        facts=[None if one.change.facts is None else _encode(one.change.facts).decode() for one in noted],
    )


async def keep_unplaced(db: Connection, programme_of: Mapping[str, str], waiting: Sequence[Unplaced]) -> None:
    """Keeps points until their programme is known; `programme_of` gives it by event id."""
    await queries.keep_unplaced(
        db,
        event_ids=[one.event_id for one in waiting],
        wallet_ids=[one.wallet_id for one in waiting],
        programmes=[programme_of[one.event_id] for one in waiting],
        points=[one.points for one in waiting],
        effective_ats=[one.effective_at for one in waiting],
        request_ids=[one.request_id for one in waiting],
        traceparents=[one.traceparent for one in waiting],
    )


async def take_unplaced(db: Connection, programme: str, most: int) -> list[Unplaced]:
    """Takes up to `most` of the points that waited for this programme."""
    return [Unplaced(*row) for row in await queries.take_unplaced(db, programme=programme, most=most)]


async def unjudged(db: Connection, programme: str, version: int, most: int) -> list[UUID]:
    """Up to `most` wallets that this version has still to judge, in their order."""
    rows = await queries.unjudged(db, programme=programme, version=version, most=most)
    return sorted(row["wallet_id"] for row in rows)


async def unsettled(db: Connection) -> list[tuple[str, int]]:
    """Programmes, each with its latest version, that have something to settle."""
    return [(row["programme"], row["version"]) for row in await queries.unsettled(db)]


class Found(NamedTuple):
    """A wallet's standing as a reader sees it."""

    member_id: UUID
    programme: str
    standing: Standing
    heir: UUID | None


async def standing_of(db: Connection, wallet_id: UUID) -> Found | None:
    """Where a wallet stands; None for one that nothing was heard of."""
    row = await queries.standing_of(db, wallet_id=wallet_id)
    if row is None:
        return None
    return Found(
        row["member_id"],
        row["programme"],
        Standing(row["tier"], row["since"], row["until"], row["sequence"]),
        row["heir"],
    )


async def history_page(db: Connection, wallet_id: UUID, *, before: int, most: int) -> list[dict[str, Any]]:
    """A wallet's changes before a sequence, newest first, as they are shown."""
    rows = await queries.history_page(db, wallet_id=wallet_id, before=before, most=most)
    return [
        {
            "sequence": row["sequence"],
            "from": row["from_tier"],
            "to": row["to_tier"],
            "direction": row["direction"],
            "rule": msgspec.Raw(row["rule"].encode()),
            "numbers": msgspec.Raw(row["numbers"].encode()),
            "facts": None if row["facts"] is None else msgspec.Raw(row["facts"].encode()),
            "programme": row["programme"],
            "programme_version": row["programme_version"],
            "effective_at": row["effective_at"],
            "until": row["until"],
            "cause": row["cause"],
            "recorded_at": row["recorded_at"],
        }
        for row in rows
    ]
