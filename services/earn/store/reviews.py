"""What fraud guards count, and the reviews of what they flag, as they are written and read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.earn.domain.guard import Sighting, Till
from services.earn.domain.review import Review
from services.earn.store.sql import queries as learned
from shared.db import Connection
from shared.sql import load

queries = load("services.earn.store", "reviews.sql")

Span = tuple[datetime, datetime]

_SIGHTING = tuple(Sighting.__struct_fields__)
_NEW = (
    "review_id", "bill_id", "merchant", "bill_ref", "terminal", "cashier", "occurred_at", "total_minor", "member_id", "wallet_id",
    "programme", "accrual_id", "points", "currency", "point_value", "patterns", "flagged_at",
)  # fmt: skip


async def lock(db: Connection, wallet_ids: Collection[UUID], tills: Collection[Till]) -> None:
    """The wallets and then the terminals whose bills are counted. Read what depends on them later."""
    await learned.lock_wallets(db, wallet_ids=list(wallet_ids))
    if tills:
        places = {(merchant, terminal) for _, merchant, terminal in tills}
        await queries.lock_terminals(
            db, merchants=[merchant for merchant, _ in places], terminals=[name for _, name in places]
        )


async def of_wallets(db: Connection, spans: Mapping[UUID, Span]) -> list[Sighting]:
    """The bills of these wallets within these spans."""
    rows = await queries.seen_of_wallets(
        db,
        wallet_ids=list(spans),
        froms=[begin for begin, _ in spans.values()],
        tos=[end for _, end in spans.values()],
    )
    return [Sighting(*row) for row in rows]


async def at_tills(db: Connection, spans: Mapping[Till, Span]) -> list[Sighting]:
    """The bills at these terminals within these spans."""
    rows = await queries.seen_at_terminals(
        db,
        programmes=[programme for programme, _, _ in spans],
        merchants=[merchant for _, merchant, _ in spans],
        terminals=[terminal for _, _, terminal in spans],
        froms=[begin for begin, _ in spans.values()],
        tos=[end for _, end in spans.values()],
    )
    return [Sighting(*row) for row in rows]


async def refunds(db: Connection, spans: Mapping[UUID, Span]) -> dict[UUID, list[datetime]]:
    """When bills of these wallets were refunded, within these spans."""
    found: dict[UUID, list[datetime]] = {}
    for wallet_id, _, at in await queries.refunds_of_wallets(
        db,
        wallet_ids=list(spans),
        froms=[begin for begin, _ in spans.values()],
        tos=[end for _, end in spans.values()],
    ):
        found.setdefault(wallet_id, []).append(at)
    return found


async def cashiers(db: Connection, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """Which members those of these (merchant, cashier) are that are known as one."""
    rows = await queries.cashiers(
        db, merchants=[merchant for merchant, _ in names], cashiers=[cashier for _, cashier in names]
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def write_sightings(db: Connection, rows: Iterable[Sighting]) -> None:
    """Bills that were judged."""
    records = [tuple(getattr(one, name) for name in _SIGHTING) for one in rows]
    await db.copy_records_to_table("sightings", records=records, columns=_SIGHTING)


async def earliest_waiting(db: Connection) -> datetime | None:
    """When the earliest of the bills happened that still wait to be judged."""
    found: datetime | None = await queries.earliest_waiting(db)
    return found


async def any_sighting(db: Connection) -> bool:
    """Whether guards have counted anything."""
    return bool(await queries.any_sighting(db))


async def thin(db: Connection, before: Mapping[str, datetime], *, most: int) -> int:
    """Drops at most so many sightings of bills of these programmes that happened before those moments; gives how many."""
    bounds = {"programmes": list(before), "befores": list(before.values())}
    await queries.note_thinned(db, **bounds)
    return len(await queries.thin(db, **bounds, most=most))


async def write_reviews(db: Connection, rows: Sequence[Review]) -> None:
    """New ones, open."""
    if rows:
        records = [tuple(getattr(one, name) for name in _NEW) for one in rows]
        await db.copy_records_to_table("reviews", records=records, columns=_NEW)


async def reviewed(db: Connection, review_ids: Collection[UUID]) -> dict[UUID, Review]:
    """Those of the reviews that are there."""
    return {
        one.review_id: one for one in map(_review, await queries.reviewed(db, review_ids=list(review_ids)))
    }


async def cancelled_by(db: Connection, request_ids: Iterable[UUID]) -> dict[UUID, Review]:
    """By request the reviews that asked the bank."""
    rows = await queries.cancelled_by(db, request_ids=list(request_ids))
    return {one.request_id: one for one in map(_review, rows) if one.request_id is not None}


async def page(
    db: Connection,
    *,
    states: Sequence[str],
    pattern: str | None,
    merchant: str | None,
    before: UUID,
    most: int,
) -> list[Review]:
    """Reviews before that one, the newest first."""
    rows = await queries.review_page(
        db, states=list(states), pattern=pattern, merchant=merchant, before=before, most=most
    )
    return [_review(row) for row in rows]


async def decide(db: Connection, reviews: Sequence[Review], now: datetime) -> None:
    """What was decided; the plans of what was released are due from now on."""
    await queries.decide_reviews(
        db,
        decided_at=now,
        review_ids=[one.review_id for one in reviews],
        states=[one.state for one in reviews],
        decided_bys=[one.decided_by for one in reviews],
        reasons=[one.reason for one in reviews],
        request_ids=[one.request_id for one in reviews],
        sequences=[one.sequence for one in reviews],
    )
    if released := {one.accrual_id for one in reviews if one.state == "released"}:
        await queries.due_reviews(db, accrual_ids=list(released), now=now)


async def answer(db: Connection, answers: Sequence[tuple[UUID, UUID, int]]) -> None:
    """(review, event, points) that the bank took."""
    await queries.answer_reviews(
        db,
        review_ids=[one for one, _, _ in answers],
        answer_event_ids=[event_id for _, event_id, _ in answers],
        takens=[taken for _, _, taken in answers],
    )


def _review(row: Any) -> Review:
    values = dict(row)
    values["patterns"] = tuple(values["patterns"])
    return Review(**values)
