"""Totals of a tenant, read by its auditor: what the services keep, not what they say."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from shared.db import Connection
from shared.sql import load

queries = load("pointbank", "figures.sql")

BUCKETS = ("earned", "available", "held", "reserved", "redeemed")


@dataclass(frozen=True)
class Figures:
    """`buckets` are points; `earned` counts what ever left `issued`. `tiers` counts wallets, `messages` each in its state."""

    bills: int
    anonymous: int
    members_with_bills: int
    members: int
    waiting: int
    buckets: dict[str, int]
    tiers: dict[str, int]
    messages: dict[str, int]


async def figures(db: Connection, *, programme: str) -> Figures:
    """The totals of this moment, for one programme where points are concerned."""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        counts = await queries.bills(db)
        return Figures(
            bills=counts["bills"],
            anonymous=counts["anonymous"],
            members_with_bills=counts["members_with_bills"],
            members=await queries.members(db),
            waiting=counts["waiting"],
            buckets=dict(await queries.buckets(db, programme=programme)),
            tiers={
                row["tier"]: row["wallets"] for row in await queries.wallets_in_tiers(db, programme=programme)
            },
            messages={row["state"]: row["messages"] for row in await queries.messages(db)},
        )


async def most_earned(db: Connection, *, programme: str, most: int) -> list[tuple[UUID, int]]:
    """Wallets and the points they ever earned, most first."""
    rows = await queries.most_earned(db, programme=programme, most=most)
    return [(row["wallet_id"], row["points"]) for row in rows]
