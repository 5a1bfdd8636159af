"""Adjustments as they are kept: requests with their parts, and what became of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from services.redeem.domain.acts import Adjustment, Evidence, Part
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.store.sql import adjustments, columns
from shared.db import Connection


async def lock(db: Connection, adjustment_ids: Collection[UUID]) -> dict[UUID, Adjustment]:
    """These adjustments with their parts, locked until the end of the transaction."""
    if not adjustment_ids:
        return {}
    rows = await adjustments.lock_adjustments(db, adjustment_ids=list(adjustment_ids))
    return {one.adjustment_id: one for one in await _whole(db, rows)}


async def find(db: Connection, adjustment_id: UUID) -> Adjustment | None:
    """One adjustment with its parts."""
    row = await adjustments.adjustment(db, adjustment_id=adjustment_id)
    return None if row is None else (await _whole(db, [row]))[0]


async def newest(db: Connection, *, state: str | None, before: UUID, most: int) -> list[Adjustment]:
    """Adjustments that are older than one of them, the newest first."""
    return await _whole(db, await adjustments.adjustments(db, state=state, before=before, most=most))


async def posted_alone(db: Connection, wallet_ids: Collection[UUID], *, within: timedelta) -> dict[UUID, int]:
    """The points that were given to these wallets, taken of them and brought back in them without a second person within that time,
    up to now by PostgreSQL's clock."""
    if not wallet_ids:
        return {}
    rows = await adjustments.posted_alone(db, wallet_ids=list(wallet_ids), within=within)
    return {row["wallet_id"]: row["points"] for row in rows}


class Reinstated(NamedTuple):
    """What one person brought back, as it is kept."""

    posting_id: UUID
    wallet_id: UUID
    lot_id: UUID
    points: int
    reason: str
    programme_version: int
    second_person_above: int
    requested_by: str
    requested_at: datetime


class OpenedByOne(NamedTuple):
    """An opening balance that one person asked for, as it is kept."""

    posting_id: UUID
    wallet_id: UUID
    points: int
    programme_version: int
    second_person_above: int
    requested_by: str
    requested_at: datetime


class ActiveElsewhere(NamedTuple):
    """When the member of an opened balance was last active elsewhere, as it is kept."""

    posting_id: UUID
    wallet_id: UUID
    last_active_at: datetime


class Said(NamedTuple):
    """Of an opening balance: when its points were to expire at first, and when its member was last active, where it was said."""

    expires_at: datetime | None
    last_active_at: datetime | None


async def said(db: Connection, opened: Mapping[UUID, Sequence[Lot]]) -> dict[UUID, Said]:
    """What was said with opening balances that were posted, whose lots these are."""
    own = [lot.lot_id for posting_id, lots in opened.items() for lot in lots if lot.accrual_id == posting_id]
    if not own:
        return {}
    rows = await adjustments.openings_said(db, lot_ids=own)
    return {row["opening_id"]: Said(row["expires_at"], row["last_active_at"]) for row in rows}


async def keep_openings(
    db: Connection, new: Sequence[OpenedByOne], active: Sequence[ActiveElsewhere]
) -> None:
    """Keeps new ones, and what was said of their members."""
    if new:
        await adjustments.keep_openings(db, **columns(_OPENED, new))
    if active:
        await adjustments.keep_activities(db, **columns(_ACTIVE, active))


async def keep_reinstatements(db: Connection, new: Sequence[Reinstated]) -> None:
    """Keeps new ones."""
    if new:
        await adjustments.keep_reinstatements(db, **columns(_REINSTATED, new))


async def keep(db: Connection, new: Sequence[Adjustment]) -> None:
    """Keeps new ones."""
    if not new:
        return
    parts = [
        (part.posting_id, one.adjustment_id, part.wallet_id, part.points, part.expires_at)
        for one in new
        for part in one.parts
    ]
    await adjustments.keep_adjustments(
        db, **columns(_COLUMNS, [_row(one) for one in new]), **columns(_PART_COLUMNS, parts)
    )


async def decide(db: Connection, decided: Sequence[Adjustment]) -> None:
    """Keeps what became of pending ones, which are locked."""
    if not decided:
        return
    rows = [(one.adjustment_id, one.state, one.decided_by, one.decided_at, one.note) for one in decided]
    await adjustments.decide_adjustments(
        db, **columns(("adjustment_ids", "states", "decided_bys", "decided_ats", "notes"), rows)
    )


async def status(db: Connection, wallet_id: UUID) -> dict[str, Any] | None:
    """A wallet's id, programme and status; `merged_into` only where it was merged."""
    row = await adjustments.wallet_status(db, wallet_id=wallet_id)
    if row is None:
        return None
    return {name: value for name, value in row.items() if name != "merged_into" or value is not None}


async def keep_statuses(db: Connection, wallets: Sequence[Wallet]) -> None:
    """The statuses of wallets that are locked."""
    if wallets:
        await adjustments.keep_statuses(
            db, wallet_ids=[one.wallet_id for one in wallets], statuses=[one.status for one in wallets]
        )


async def _whole(db: Connection, rows: Sequence[Any]) -> list[Adjustment]:
    found = await adjustments.parts_of(db, adjustment_ids=[row["adjustment_id"] for row in rows])
    parts: dict[UUID, list[Part]] = {}
    for row in found:
        parts.setdefault(row["adjustment_id"], []).append(
            Part(
                posting_id=row["posting_id"],
                wallet_id=row["wallet_id"],
                points=row["points"],
                expires_at=row["expires_at"],
            )
        )
    return [
        Adjustment(
            adjustment_id=row["adjustment_id"],
            programme=row["programme"],
            programme_version=row["programme_version"],
            second_person_above=row["second_person_above"],
            state=row["state"],
            reason=row["reason"],
            evidence=Evidence(row["evidence"], row["evidence_sha256"]),
            requested_by=row["requested_by"],
            requested_at=row["requested_at"],
            decided_by=row["decided_by"],
            decided_at=row["decided_at"],
            note=row["note"],
            parts=tuple(parts.get(row["adjustment_id"], ())),
        )
        for row in rows
    ]


def _row(one: Adjustment) -> tuple[Any, ...]:
    return (
        one.adjustment_id,
        one.programme,
        one.programme_version,
        one.second_person_above,
        one.state,
        one.reason,
        one.evidence.reference,
        one.evidence.sha256,
        one.requested_by,
        one.requested_at,
        one.decided_by,
        one.decided_at,
        one.note,
    )


_COLUMNS = (
    "adjustment_ids",
    "programmes",
    "programme_versions",
    "thresholds",
    "states",
    "reasons",
    "evidences",
    "evidence_sha256s",
    "requested_bys",
    "requested_ats",
    "decided_bys",
    "decided_ats",
    "notes",
)
_OPENED = ("posting_ids", "wallet_ids", "points", "versions", "thresholds", "requested_bys", "requested_ats")
_ACTIVE = ("posting_ids", "wallet_ids", "last_active_ats")
_REINSTATED = (
    "posting_ids",
    "wallet_ids",
    "lot_ids",
    "points",
    "reasons",
    "versions",
    "thresholds",
    "requested_bys",
    "requested_ats",
)
_PART_COLUMNS = ("part_postings", "part_adjustments", "part_wallets", "part_points", "part_expires_ats")
