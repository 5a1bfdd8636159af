"""What is asked about wallets, beside the lane."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.redeem.store.sql import queries
from shared.db import Connection
from shared.money import Worth, worth


class Value(NamedTuple):
    """What points of a programme are worth."""

    programme: str
    currency: str
    point_value: str

    def worth(self, points: int) -> Worth:
        """Points with their money."""
        return worth(points, self.point_value, self.currency)


class Unvalued(Exception):
    """No word of the wallet's programme has come here yet; the argument is its code."""


async def value_of(db: Connection, wallet_id: UUID) -> Value | None:
    """What a wallet's points are worth now; None for a wallet that is not known here, Unvalued for an unknown programme."""
    found = await queries.wallet_value(db, wallet_id=wallet_id)
    if found is not None and found["currency"] is None:
        raise Unvalued(found["programme"])
    return None if found is None else Value(*found)


class Standing(NamedTuple):
    """A wallet's balance, and what is usable of it by expiry (None: never), the earliest first."""

    available: int
    held: int
    reserved: int
    debt: int
    by_expiry: list[tuple[datetime | None, int]]


async def standing(db: Connection, wallet_id: UUID) -> Standing:
    """A known wallet as it stands."""
    return _standing(await queries.balance(db, wallet_id=wallet_id))


async def standing_at(
    db: Connection, wallet_id: UUID, *, posted_by: datetime, effective_by: datetime
) -> Standing:
    """A known wallet from its lines that were posted and effective by these moments."""
    return _standing(
        await queries.balance_at(db, wallet_id=wallet_id, posted_by=posted_by, effective_by=effective_by)
    )


def _standing(rows: Sequence[Any]) -> Standing:
    first = rows[0]
    by_expiry = [(row["expires_at"], row["usable"]) for row in rows if row["usable"]]
    return Standing(first["available"], first["held"], first["reserved"], first["debt"], by_expiry)


async def ledger_page(db: Connection, wallet_id: UUID, *, before: int, most: int) -> Sequence[Any]:
    """Lines with a smaller `seq`, the newest first."""
    rows: Sequence[Any] = await queries.ledger_page(db, wallet_id=wallet_id, before=before, most=most)
    return rows
