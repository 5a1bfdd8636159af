"""Referrals as they are learned, decided and given for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from services.earn.domain.acts.act import Reached
from services.earn.domain.acts.referral import First, Key, Referred
from services.earn.store.sql import referrals as queries
from shared.db import Connection


async def learn(db: Connection, rows: Sequence[tuple[UUID, str, UUID]]) -> None:
    """(referred member, programme, referrer), as heard with an enrolment."""
    members, programmes, referrers = zip(*rows, strict=True)
    await queries.learn_referrals(db, member_ids=members, programmes=programmes, referrer_ids=referrers)


async def lock_open(db: Connection, keys: Collection[Key]) -> set[Key]:
    """Those of these that no bill has decided, held until the end of the transaction."""
    return {(row[0], row[1]) for row in await queries.lock_open_referrals(db, **_columns(keys))}


async def wallets_with_bills(db: Connection, wallet_ids: Collection[UUID]) -> set[UUID]:
    """Those of these wallets that a bill was judged for."""
    return {row[0] for row in await queries.wallets_with_bills(db, wallet_ids=list(wallet_ids))}


async def decide(db: Connection, firsts: Sequence[First]) -> None:
    """Writes what bills decided about referrals that this transaction holds."""
    await queries.decide_referrals(
        db,
        **_columns([one.key for one in firsts]),
        outcomes=[one.outcome for one in firsts],
        bill_ids=[one.bill_id for one in firsts],
        occurred_ats=[one.occurred_at for one in firsts],
        versions=[one.version for one in firsts],
        amounts_minor=[one.amount_minor for one in firsts],
        minimums_minor=[one.minimum_minor for one in firsts],
    )


async def due(db: Connection) -> list[Key]:
    """Some of those whose acts are still to be recorded."""
    return [(row[0], row[1]) for row in await queries.due_referrals(db)]


async def lock_due(db: Connection, keys: Collection[Key]) -> list[Referred]:
    """Those of these whose acts are still to be recorded, held until the end of the transaction."""
    return [
        Referred(
            (row["member_id"], row["programme"]),
            row["referrer_id"],
            Reached(row["bill_id"], row["occurred_at"], row["amount_minor"], row["minimum_minor"]),
        )
        for row in await queries.lock_due_referrals(db, **_columns(keys))
    ]


async def mark_given(db: Connection, keys: Collection[Key]) -> None:
    """Both acts of these are recorded."""
    await queries.mark_given(db, **_columns(keys))


def _columns(keys: Collection[Key]) -> dict[str, list[Any]]:
    return {"member_ids": [one for one, _ in keys], "programmes": [other for _, other in keys]}
