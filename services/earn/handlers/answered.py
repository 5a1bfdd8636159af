"""What the bank answers, refunds whose bill has come, and what is asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.earn.domain.decision import Decision, Judged
from services.earn.domain.hold import HoldPlan, cancel
from services.earn.domain.refund import Answer
from services.earn.handlers.courses import follow, follow_again
from services.earn.handlers.judging import give_back
from services.earn.handlers.reviewing import cancelled, hear_cancelled
from services.earn.handlers.taken_back import hear_of_acts
from services.earn.handlers.telling_refunds import on_behalf_of, tell_request
from services.earn.store import holds
from services.earn.store import refunds as store
from services.earn.store.refunds import Reference
from shared.events import PointsReturned, PointsReversed, ReversalRefused
from shared.messaging import Done, Item, Outcome, Tx

Answered = PointsReversed | ReversalRefused | PointsReturned

_DONE = Done()


class TakeUp(msgspec.Struct, frozen=True):
    """The bill of this refund is there: begin."""

    refund_id: UUID
    reference: Reference


class AskAgain(msgspec.Struct, frozen=True):
    """Ask the bank again for what it was asked last before that time and has not answered; the next one, if none is asked."""

    refund_id: UUID
    bill_id: UUID
    asked_before: datetime


async def hear_answers(tx: Tx, items: Sequence[Item[Answered]]) -> list[Outcome]:
    """Keeps each answer once, settles refunds that have all of theirs, and begins the next of their bills."""
    asked = {item.command.request_id for item in items if item.command.request_id is not None}
    ours = await store.requested_bills(tx.db, asked) if asked else {}
    reviews = await cancelled(tx, items)
    back: list[tuple[Judged, UUID, int, int]] = []
    if reviews:
        # All sagas at once, in their order; those of refunds are taken again below.
        of_reviews = {one.bill_id for one in reviews.values()}
        await store.lock_known_sagas(tx.db, of_reviews | {bill_id for _, bill_id in ours.values()})
        back = await hear_cancelled(tx, items, reviews)
    if ours:
        back += await _hear(tx, items, ours)
    others = [item for item in items if _is_of_act(item.command)]
    await give_back(tx, back, await hear_of_acts(tx, others) if others else {})
    return [_DONE] * len(items)


async def _hear(
    tx: Tx, items: Sequence[Item[Answered]], ours: Mapping[UUID, tuple[UUID, UUID]]
) -> list[tuple[Judged, UUID, int, int]]:
    """Those to refunds; gives what budgets and caps get back."""
    courses = await follow_again(tx, {bill_id for _, bill_id in ours.values()})
    new: list[Answer] = []
    reversed_: list[PointsReversed] = []
    item_of: dict[UUID, Item[Any]] = {}
    by_bill: dict[UUID, Item[Any]] = {}
    for item in items:
        if item.command.request_id not in ours:
            continue
        assert item.command.request_id is not None
        refund_id, bill_id = ours[item.command.request_id]
        refund = next(one for one in courses.of(bill_id).refunds if one.refund_id == refund_id)
        assert item.event_id is not None
        answer = _answer(item.command, UUID(item.event_id))
        if answer.event_id in {one.event_id for one in refund.answers}:
            continue
        refund.answers.append(answer)
        new.append(answer)
        if isinstance(item.command, PointsReversed):
            reversed_.append(item.command)
        item_of[refund_id] = by_bill[bill_id] = item
    if not new:
        return []
    for bill_id, item in by_bill.items():
        course = courses.of(bill_id)
        course.answered()
        for refund_id in course.moved:
            item_of.setdefault(refund_id, item)
    await store.write_answers(tx.db, new)
    await courses.write(new=(), item_of=item_of)
    await _cancel_holds(tx, {told.request_id: ours[told.request_id][1] for told in reversed_}, reversed_)
    tx.after_commit(store.refund_wake(tx.cache).set)
    return [_taken(courses.of(ours[told.request_id][1]).bill.decision, told) for told in reversed_]


def _is_of_act(told: Answered) -> bool:
    return isinstance(told, PointsReversed | ReversalRefused) and told.refund_id is None


async def _cancel_holds(tx: Tx, bill_of: Mapping[UUID, UUID], reversed_: Sequence[PointsReversed]) -> None:
    """What was taken back while it was held is not released any more. The bills' sagas are locked."""
    held = [told for told in reversed_ if told.hold_cancelled.points]
    if not held:
        return
    plans = await holds.plans_of_bills(tx.db, {bill_of[told.request_id] for told in held})
    touched: dict[UUID, list[HoldPlan]] = {}
    for told in held:
        of_bill = plans.get(bill_of[told.request_id], [])
        own = touched.setdefault(
            told.accrual_id, [plan for plan in of_bill if plan.accrual_id == told.accrual_id]
        )
        cancel(own, told.hold_cancelled.points)
    await holds.cancel_plans(tx.db, [plan for own in touched.values() for plan in own])


def _taken(decision: Decision, told: PointsReversed) -> tuple[Judged, UUID, int, int]:
    """Whose budgets and caps get back what: (decision for a wallet, accrual, points taken back before, and by now)."""
    [judged] = [
        one for one in decision.programmes if any(of.accrual_id == told.accrual_id for of in one.accruals)
    ]
    now = told.reversed.points + told.hold_cancelled.points + told.owed.points
    return judged, told.accrual_id, told.reversed_through - now, told.reversed_through


def _answer(told: Answered, event_id: UUID) -> Answer:
    assert told.request_id is not None
    match told:
        case PointsReversed():
            return Answer(
                request_id=told.request_id,
                event_id=event_id,
                kind="reversed",
                wallet_id=told.wallet_id,
                programme=told.programme,
                reversed=told.reversed.points,
                hold_cancelled=told.hold_cancelled.points,
                owed=told.owed.points,
                lapsed=0 if told.lapsed is None else told.lapsed.points,
                shortfall=told.shortfall.points,
                late=told.late,
            )
        case ReversalRefused():
            return Answer(
                request_id=told.request_id,
                event_id=event_id,
                kind="refused",
                wallet_id=told.wallet_id,
                programme=told.programme,
                shortfall=told.shortfall.points,
                code=told.code,
                detail=told.detail,
            )
        case PointsReturned():
            returned = told.returned
            return Answer(
                request_id=told.request_id,
                event_id=event_id,
                kind="returned",
                redemption_id=told.redemption_id,
                parts=max(told.parts, 1),
                wallet_id=told.wallet_id,
                programme=told.programme,
                returned=0 if returned is None else returned.points,
                money_minor=0 if returned is None else returned.money.amount_minor,
                currency=None if returned is None else returned.money.currency,
                late=told.late,
            )


async def take_up_refunds(tx: Tx, items: Sequence[Item[TakeUp]]) -> list[Outcome]:
    """Begins refunds that waited for their bill."""
    bills = await store.bills_by_reference(tx.db, {item.command.reference for item in items})
    courses = await follow(tx, [bill for bill in bills.values() if not bill.waits])
    # Read under the locks: another process may have begun them.
    known = await store.refunds_by_id(tx.db, {item.command.refund_id for item in items})
    item_of: dict[UUID, Item[Any]] = {}
    for item in items:
        bill = bills.get(item.command.reference)
        one = known[item.command.refund_id]
        if bill is None or bill.waits or one.refund.status != "waiting_for_bill":
            continue
        item_of[one.refund.refund_id] = item
        courses.of(bill.bill_id).take(one.refund)
    await courses.write(new=(), item_of=item_of)
    if item_of:
        tx.after_commit(store.refund_wake(tx.cache).set)
    return [_DONE] * len(items)


async def ask_again(tx: Tx, items: Sequence[Item[AskAgain]]) -> list[Outcome]:
    """Tells the bank once more what it owes an answer to, under the same request ids."""
    courses = await follow_again(tx, {item.command.bill_id for item in items})
    asked_last = await store.asked_last(tx.db, {item.command.refund_id for item in items})
    item_of: dict[UUID, Item[Any]] = {}
    asks: list[tuple[UUID, int]] = []
    for item in items:
        course = courses.of(item.command.bill_id)
        course.answered()
        for refund_id in course.moved:
            item_of.setdefault(refund_id, item)
        refund = next(one for one in course.refunds if one.refund_id == item.command.refund_id)
        if refund.status != "pending":
            continue
        for request in refund.unanswered:
            last = asked_last.get(request.request_id)
            if last is None or last >= item.command.asked_before:
                continue
            place = course.next_place()
            cause = on_behalf_of(refund, item)
            tell_request(tx, cause, course.bill, refund, request, place)
            tx.audit("refund.ask_again", f"refund/{refund.refund_id}", item=cause)
            asks.append((request.request_id, place))
    if asks:
        await store.write_asks(tx.db, asks)
    await courses.write(new=(), item_of=item_of)
    return [_DONE] * len(items)
