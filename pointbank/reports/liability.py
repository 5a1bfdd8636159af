"""What is owed to members: points, gift cards and benefits of each programme, from the lines that were written before a moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

from pointbank.logins import log_in
from services.redeem.domain.liability import FLAT, Owed
from services.redeem.store.liability import befores_of, owed_of, wallets_of
from shared.config import Settings

__all__ = ["FLAT", "WALLET", "Owed", "read_liability"]

WALLET = ("programme", "wallet_id", "member_id", "available", "held", "reserved", "debt", "owed")
"""The columns of what is owed to one wallet."""


async def read_liability(
    settings: Settings,
    tenant: str,
    *,
    programme: str | None = None,
    at: datetime | date | None = None,
    each: Callable[[Sequence[tuple[Any, ...]]], Any] | None = None,
) -> list[Owed]:
    """What is owed by the lines written before `at` (a day: its beginning in each programme's zone), of each programme that was
    ever active, in one snapshot that the auditor reads. `each` is told the rows of wallets (WALLET), a page at a time, which add
    up to it. Raises UnknownTenant; refuses as `befores_of`."""
    db = await log_in(settings, tenant, "auditor")
    try:
        await db.execute("SET search_path = redeem")
        async with db.transaction(isolation="repeatable_read", readonly=True):
            befores = await befores_of(db, programme=programme, at=at)
            found = await owed_of(db, befores)
            if each is not None:
                async for page in wallets_of(db, befores):
                    each(page)
            return found
    finally:
        await db.close()
