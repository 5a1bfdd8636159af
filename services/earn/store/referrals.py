"""Referrals as they are learned, decided and given for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.earn.domain.acts.act import Reached
from services.earn.domain.acts.referral import Family, First, Key, Referred
from services.earn.store.sql import referrals as queries
from shared.db import Connection
from shared.programme.compiled import OnSpent


async def learn(db: Connection, rows: Sequence[tuple[UUID, str, UUID]]) -> None:
    """(referred member, programme, referrer), as heard with an enrolment."""
    members, programmes, referrers = zip(*rows, strict=True)
    await queries.learn_referrals(db, member_ids=members, programmes=programmes, referrer_ids=referrers)


async def lock_open(db: Connection, wallet_ids: Collection[UUID]) -> set[Key]:
    """Those of whose these wallets are, and of who is one with them, that no bill has decided; held until the transaction ends."""
    return {(row[0], row[1]) for row in await queries.lock_open_referrals(db, wallet_ids=list(wallet_ids))}


async def undecided(db: Connection, keys: Collection[Key]) -> dict[UUID, list[Key]]:
    """These by the wallet that the referred member's goes on as, who was enrolled first before others. None of oneself by now."""
    found: dict[UUID, list[Key]] = {}
    for member_id, programme, heir in await queries.open_referrals(db, **_columns(keys)):
        found.setdefault(heir, []).append((member_id, programme))
    return found


async def families(db: Connection, wallet_ids: Collection[UUID]) -> dict[UUID, Family]:
    """Which wallets these go on as."""
    rows = await queries.families(db, wallet_ids=list(wallet_ids))
    return {row[0]: Family(row[1], row[2]) for row in rows}


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


# ---- what is taken back ------------------------------------------------------------------------


class Review(NamedTuple):
    """A referral that is looked at again; amounts are in the programme's currency."""

    key: Key
    bill_id: UUID
    occurred_at: datetime
    version: int
    amount_minor: int
    minimum_minor: int

    @property
    def programme(self) -> str:
        return self.key[1]


class Reversal(NamedTuple):
    """What the bank is asked to take back of an act: all that it earned."""

    accrual_id: UUID
    request_id: UUID
    act_id: UUID
    bill_id: UUID
    refund_id: UUID | None
    wallet_id: UUID
    programme: str
    currency: str
    point_value: str
    points: int
    on_spent: OnSpent
    effective_at: datetime
    decided_at: datetime
    sequence: int


_PLURAL = ("accrual_ids", "request_ids", "act_ids", "bill_ids", "refund_ids", "wallet_ids", "programmes", "currencies",
           "point_values", "points", "on_spents", "effective_ats", "decided_ats", "sequences")  # fmt: skip


async def mark_for_review(db: Connection, bill_ids: Collection[UUID]) -> None:
    """Refunds of these bills moved."""
    await queries.review_referrals(db, bill_ids=list(bill_ids))


async def to_review(db: Connection) -> list[Key]:
    """Some of those that are to be looked at, and can be."""
    return [(row[0], row[1]) for row in await queries.referrals_to_review(db)]


async def lock_reviews(db: Connection, keys: Collection[Key]) -> list[Review]:
    """Those of these that are to be looked at, held until the end of the transaction."""
    return [
        Review((row[0], row[1]), *tuple(row)[2:]) for row in await queries.lock_reviews(db, **_columns(keys))
    ]


async def refunded_of(db: Connection, bill_ids: Collection[UUID]) -> list[Any]:
    """The refunds of these bills that began, in their order."""
    return list(await queries.refunded_of(db, bill_ids=list(bill_ids)))


async def accruals_of_acts(db: Connection, act_refs: Sequence[str]) -> list[Any]:
    """What the acts of referrals with these references earned."""
    return list(await queries.accruals_of_acts(db, act_refs=act_refs))


async def ask_reversals(db: Connection, rows: Sequence[Reversal]) -> set[UUID]:
    """Keeps what is asked; gives the accruals that were not asked for before."""
    columns = dict(zip(_PLURAL, zip(*rows, strict=True), strict=True))
    return {row[0] for row in await queries.ask_reversals(db, **columns)}


async def mark_reviewed(db: Connection, keys: Collection[Key]) -> None:
    """These were looked at."""
    await queries.mark_reviewed(db, **_columns(keys))


async def lock_reversals(db: Connection, request_ids: Collection[UUID]) -> list[Any]:
    """What was asked under these ids, as far as it was asked about acts, held until the end of the transaction."""
    return list(await queries.lock_reversals(db, request_ids=list(request_ids)))


async def answer_reversals(db: Connection, rows: Sequence[tuple[UUID, str, int, str | None]]) -> None:
    """(request, status, points taken back in all, code)."""
    request_ids, statuses, throughs, codes = zip(*rows, strict=True)
    await queries.answer_reversals(
        db, request_ids=request_ids, statuses=statuses, throughs=throughs, codes=codes
    )


async def overdue_reversals(db: Connection, *, asked_before: datetime) -> list[UUID]:
    """Some that the bank has not answered since then."""
    return [row[0] for row in await queries.overdue_reversals(db, asked_before=asked_before)]


async def ask_reversals_again(db: Connection, request_ids: Sequence[UUID]) -> None:
    """These are asked once more."""
    await queries.ask_reversals_again(db, request_ids=request_ids)
