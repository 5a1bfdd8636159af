"""Which standings come to their end, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from shared.db import Connection
from shared.sql import load

queries = load("services.tiers", "ending.sql")


async def first_ends(db: Connection, programmes: Sequence[str]) -> dict[str, datetime]:
    """When the first of each programme's standings ends, or ended; those of which none does are left out."""
    rows = await queries.first_ends(db, programmes=programmes)
    return {row["programme"]: row["until"] for row in rows}


async def ended(db: Connection, programme: str, now: datetime, most: int) -> list[UUID]:
    """Up to `most` wallets whose standing is over, the longest first."""
    return [row["wallet_id"] for row in await queries.ended(db, programme=programme, now=now, most=most)]
