"""Held points are released: by days that have come, and by what was activated. Asked of the bank in cumulative targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.earn.domain.decision import Decision
from services.earn.domain.hold import (
    Activate,
    Activated,
    HoldPlan,
    Released,
    ReleasedPoints,
    ReleaseDue,
    plans_of,
)
from services.earn.domain.versions import Versions
from services.earn.store import holds as store
from services.earn.store import refunds
from services.earn.store.holds import Release
from services.earn.store.refunds import Saga
from shared.errors import NotFound
from shared.events import ReleaseRequested
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.money import worth

HOLDING = frozenset({"held", "mixed"})
"""What a bill's decision says where points are held."""

AT_ONCE = 200
"""Bills whose held points one transaction releases."""


_encode = msgspec.json.Encoder().encode


Held = tuple[UUID, datetime, Decision, Mapping[str, Versions]]
"""A bill, when it happened, the decision, and what it was judged by."""


async def plan_holds(tx: Tx, decided: Iterable[Held]) -> None:
    """Writes the plans of what these decisions held."""
    await store.write_plans(tx.db, [plan for one in decided for plan in plans_of(*one)])


async def release_due(tx: Tx, items: Sequence[Item[ReleaseDue]]) -> list[Outcome]:
    """Asks for what is due. Two that do so at once share the bills by their locks, and ask for each step once."""
    outcomes: list[Outcome] = []
    for item in items:
        now = tx.now()
        if item.command.dry_run:
            due = await store.due_summary(tx.db, now)
            outcomes.append(Done(200, _encode(Released(due.bills, due.points, due.bills, dry_run=True))))
            continue
        bills = await store.due_bills(tx.db, now, most=AT_ONCE, after=item.command.after)
        moved = await release_bills(tx, dict.fromkeys(bills, item), now)
        left = await store.due_summary(tx.db, now) if len(bills) == AT_ONCE else store.Due(0, 0)
        points = sum(points for plans in moved.values() for _, points in plans)
        outcomes.append(Done(200, _encode(Released(len(moved), points, left.bills))))
    return outcomes


async def activate_bills(tx: Tx, items: Sequence[Item[Activate]]) -> list[Outcome]:
    """Notes activations, each once, and releases what waits for them."""
    references = await refunds.bill_references(tx.db, {item.command.bill_id for item in items})
    now = tx.now()
    outcomes: list[Outcome | None] = [None] * len(items)
    item_of: dict[UUID, Item[Any]] = {}
    for k, item in enumerate(items):
        bill_id, merchant = item.command.bill_id, item.command.merchant
        reference = references.get(bill_id)
        if reference is None or merchant not in (None, reference[0]):
            outcomes[k] = Refused(NotFound("There is no such bill."))
        elif bill_id not in item_of:
            item_of[bill_id] = item
            tx.audit("bill.activate", f"bill/{bill_id}", item=item)
    if item_of:
        await store.activate(tx.db, [(bill_id, now) for bill_id in sorted(item_of)])
        moved = await release_bills(tx, item_of, now)
        at = await store.activated(tx.db, item_of)
        for k, item in enumerate(items):
            bill_id = item.command.bill_id
            if outcomes[k] is None:
                first = item_of[bill_id] is item
                outcomes[k] = Done(
                    200, _encode(_answer(bill_id, at[bill_id], moved.get(bill_id, []) if first else []))
                )
    return [outcome for outcome in outcomes if outcome is not None]


def _answer(bill_id: UUID, at: datetime, moved: Sequence[tuple[HoldPlan, int]]) -> Activated:
    sums: dict[UUID, tuple[HoldPlan, int]] = {}
    for plan, points in moved:
        sums[plan.wallet_id] = plan, sums.get(plan.wallet_id, (plan, 0))[1] + points
    return Activated(
        bill_id,
        at,
        tuple(
            ReleasedPoints(plan.programme, wallet_id, worth(points, plan.point_value, plan.currency))
            for wallet_id, (plan, points) in sums.items()
        ),
    )


async def release_bills(
    tx: Tx, item_of: Mapping[UUID, Item[Any]], now: datetime
) -> dict[UUID, list[tuple[HoldPlan, int]]]:
    """By bill the plans that moved, and by how many points; under the locks of the bills' sagas."""
    settled = await store.settled_through(tx.db, item_of) if item_of else {}
    if not settled:
        return {}
    sagas = await refunds.lock_sagas(tx.db, settled)
    # The bank may have taken held points already: what its answer leaves is released after it; and what is under review waits.
    for bill_id in await store.in_flight(tx.db, settled):
        del settled[bill_id]
    if not settled:
        return {}
    plans = await store.plans_of_bills(tx.db, settled)
    activated = await store.activated(tx.db, settled)
    moved: dict[UUID, list[tuple[HoldPlan, int]]] = {}
    touched: list[HoldPlan] = []
    releases: list[Release] = []
    for bill_id in settled:
        own = plans.get(bill_id, [])
        before = {(plan.accrual_id, plan.rule): plan.next_at for plan in own}
        more = [(plan, plan.release(now, activated=bill_id in activated)) for plan in own]
        touched += [
            plan for plan, points in more if points or plan.next_at != before[plan.accrual_id, plan.rule]
        ]
        if any(points for _, points in more):
            moved[bill_id] = [(plan, points) for plan, points in more if points]
            sagas[bill_id] = _ask(tx, item_of[bill_id], bill_id, sagas[bill_id], more, releases, now)
    await store.move_plans(tx.db, touched)
    await store.applied(tx.db, activated.keys())
    if moved:
        await store.write_releases(tx.db, releases)
        await refunds.move_sagas(tx.db, {bill_id: sagas[bill_id] for bill_id in moved})
    return moved


def _ask(
    tx: Tx,
    item: Item[Any],
    bill_id: UUID,
    saga: Saga,
    more: Sequence[tuple[HoldPlan, int]],
    releases: list[Release],
    now: datetime,
) -> Saga:
    for accrual_id in dict.fromkeys(plan.accrual_id for plan, points in more if points):
        own = [plan for plan, _ in more if plan.accrual_id == accrual_id]
        saga = saga._replace(sequence=saga.sequence + 1)
        one = Release(
            uuid7(), bill_id, accrual_id, sum(plan.released for plan in own), saga.sequence, now, now
        )
        releases.append(one)
        tx.emit(
            ReleaseRequested(
                request_id=one.request_id,
                bill_id=bill_id,
                accrual_id=accrual_id,
                wallet_id=own[0].wallet_id,
                programme=own[0].programme,
                release_through=one.release_through,
                effective_at=now,
                decided_at=now,
            ),
            subject=str(bill_id),
            sequence=one.sequence,
            item=item,
        )
        tx.audit(
            "hold.release",
            f"bill/{bill_id}",
            item=item,
            after={"accrual_id": accrual_id, "through": one.release_through},
        )
    return saga
