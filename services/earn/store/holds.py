"""Held points as they are written, and as they are read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.earn.domain.hold import FROM_THE_FIRST, HoldPlan
from services.earn.store.recorded import of_bills
from shared.db import Connection
from shared.sql import load

queries = load("services.earn.store", "holds.sql")

_PLAN_COLUMNS = (
    "accrual_id", "rule", "bill_id", "wallet_id", "programme", "currency", "point_value", "points", "until", "billed_on", "days",
    "last_on", "zone", "released", "next_at", "cancelled",
)  # fmt: skip
_RELEASE_COLUMNS = (
    "request_id", "bill_id", "accrual_id", "release_through", "sequence", "effective_at", "decided_at",
)  # fmt: skip


class Due(NamedTuple):
    """How many bills have held points that are due, and how many points these are at most."""

    bills: int
    points: int


class Release(NamedTuple):
    """A points.release_requested as it is kept."""

    request_id: UUID
    bill_id: UUID
    accrual_id: UUID
    release_through: int
    sequence: int
    effective_at: datetime
    decided_at: datetime


async def write_plans(db: Connection, plans: Iterable[HoldPlan]) -> None:
    """New plans."""
    rows = [tuple(getattr(plan, name) for name in _PLAN_COLUMNS) for plan in plans]
    if rows:
        await db.copy_records_to_table("hold_plans", records=rows, columns=_PLAN_COLUMNS)


async def due_bills(db: Connection, now: datetime, *, most: int, after: UUID = FROM_THE_FIRST) -> list[UUID]:
    """The first bills after that one with held points that are due by then, or activated, in the order of their ids."""
    return [row[0] for row in await queries.due_bills(db, now=now, most=most, after=after)]


async def due_summary(db: Connection, now: datetime) -> Due:
    """What a day releases by then."""
    row = await queries.due_summary(db, now=now)
    return Due(row["bills"], row["points"])


async def settled_through(db: Connection, bill_ids: Collection[UUID]) -> dict[UUID, int]:
    """Of these bills those that are settled, and the place of the last event that their decisions said."""
    rows = await of_bills(db, queries.settled_through, bill_ids)
    return {row[0]: row[1] for row in rows if not row[2]}


async def plans_of_bills(db: Connection, bill_ids: Collection[UUID]) -> dict[UUID, list[HoldPlan]]:
    """The plans of these bills."""
    found: dict[UUID, list[HoldPlan]] = {}
    for row in await queries.plans_of(db, bill_ids=list(bill_ids)):
        plan = HoldPlan(*tuple(row))
        found.setdefault(plan.bill_id, []).append(plan)
    return found


async def in_flight(db: Connection, bill_ids: Collection[UUID]) -> set[UUID]:
    """Those of these bills that have a refund which the bank has not answered."""
    return {row[0] for row in await queries.in_flight(db, bill_ids=list(bill_ids))}


async def activate(db: Connection, bills: Sequence[tuple[UUID, datetime]]) -> None:
    """(bill, when) of what is activated; what was before stays as it was."""
    await queries.activate(
        db, bill_ids=[bill_id for bill_id, _ in bills], activated_ats=[at for _, at in bills]
    )


async def activated(db: Connection, bill_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """Those of the bills that were activated."""
    return {row[0]: row[1] for row in await queries.activated(db, bill_ids=list(bill_ids))}


async def applied(db: Connection, bill_ids: Collection[UUID]) -> None:
    """What these activations release is asked for."""
    if bill_ids:
        await queries.applied(db, bill_ids=list(bill_ids))


async def move_plans(db: Connection, plans: Sequence[HoldPlan]) -> None:
    """How far these are now."""
    if plans:
        await queries.move_plans(
            db,
            accrual_ids=[one.accrual_id for one in plans],
            rules=[one.rule for one in plans],
            released=[one.released for one in plans],
            next_ats=[one.next_at for one in plans],
        )


async def cancel_plans(db: Connection, plans: Sequence[HoldPlan]) -> None:
    """How much of these was taken back."""
    if plans:
        await queries.cancel_plans(
            db,
            accrual_ids=[one.accrual_id for one in plans],
            rules=[one.rule for one in plans],
            cancelleds=[one.cancelled for one in plans],
            next_ats=[one.next_at for one in plans],
        )


async def write_releases(db: Connection, releases: Sequence[Release]) -> None:
    """What was asked for."""
    rows: list[Any] = list(releases)
    if rows:
        await db.copy_records_to_table("hold_releases", records=rows, columns=_RELEASE_COLUMNS)
