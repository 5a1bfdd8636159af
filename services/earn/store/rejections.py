"""Rejections of offered entries: each said once, and said again as it was."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.earn.store.sql import queries
from shared.db import Connection


class Rejection(NamedTuple):
    """A bill.rejected.v1: what was rejected (`key`), and the event's id, place in its subject, and data as JSON."""

    key: bytes
    subject: str
    sequence: int
    event_id: UUID
    code: str
    data: bytes


async def count_rejections(db: Connection, subjects: Collection[str]) -> dict[str, int]:
    """How many rejections each subject has had, under the lock that counts them."""
    asked = list(subjects)
    await queries.lock_rejections(db, subjects=asked)
    return {row[0]: row[1] for row in await queries.rejection_counts(db, subjects=asked)}


async def known_rejections(
    db: Connection, keys: Collection[bytes]
) -> Mapping[bytes, tuple[Rejection, datetime]]:
    """Those that were said before, and when."""
    rows = await queries.known_rejections(db, keys=list(keys))
    return {row["key"]: (Rejection(*tuple(row)[:6]), row["recorded_at"]) for row in rows}


async def write_rejections(db: Connection, made: Sequence[Rejection], recorded_at: datetime) -> None:
    """New ones, counted."""
    keys, subjects, sequences, event_ids, codes, data = zip(*made, strict=True)
    await queries.write_rejections(
        db,
        keys=keys,
        subjects=subjects,
        sequences=sequences,
        event_ids=event_ids,
        codes=codes,
        data=data,
        recorded_at=recorded_at,
    )
