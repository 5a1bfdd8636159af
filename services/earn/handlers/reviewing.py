"""What somebody decided about bills that guards flagged, and what the bank took of those that were cancelled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.earn.domain.benefit import all_stamps
from services.earn.domain.decision import Judged
from services.earn.domain.review import Decide, Review, ReviewDecided, told
from services.earn.handlers.benefits import TakenBack, take_back
from services.earn.handlers.hold import release_bills
from services.earn.store import holds, refunds
from services.earn.store import reviews as store
from services.earn.store.refunds import Saga
from shared.errors import NotFound, Refusal
from shared.events import PointsReversed, ReversalRequested
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx

_encode = msgspec.json.Encoder().encode


async def decide_reviews(tx: Tx, items: Sequence[Item[Decide]]) -> list[Outcome]:
    """Releases or cancels what is held, each review once; the same verdict again is answered again. Under the locks of the bills'
    sagas: what is due of a released bill is asked for at once, or by the job when a refund in flight is answered."""
    ids = {item.command.review_id for item in items}
    bills = {one.bill_id for one in (await store.reviewed(tx.db, ids)).values()}
    settled = await holds.settled_through(tx.db, bills) if bills else {}
    sagas = await refunds.lock_sagas(tx.db, settled) if settled else {}
    known = await store.reviewed(tx.db, ids)
    now = tx.now()
    outcomes: list[Outcome] = []
    decided: dict[UUID, Review] = {}
    freed: dict[UUID, Item[Any]] = {}
    cancelled: dict[UUID, Item[Any]] = {}
    for item in items:
        asked, one = item.command, known.get(item.command.review_id)
        if refusal := _refusal(asked, one):
            outcomes.append(Refused(refusal))
            continue
        assert one is not None
        if one.state == "open":
            _decide(tx, item, one, sagas, now)
            decided[one.review_id] = one
        (freed if asked.verdict == "released" else cancelled)[one.review_id] = item
        outcomes.append(Done(200, _encode(told(one))))
    if decided:
        await store.decide(tx.db, list(decided.values()), now)
        await refunds.move_sagas(
            tx.db, {one.bill_id: sagas[one.bill_id] for one in decided.values() if one.sequence is not None}
        )
        await release_bills(
            tx, {known[one].bill_id: item for one, item in freed.items() if one in decided}, now
        )
    if cancelled:
        await _take_gifts(tx, [(known[one], item) for one, item in cancelled.items()])
    return outcomes


def _refusal(asked: Decide, one: Review | None) -> Refusal | None:
    if one is None or asked.merchant not in (None, one.merchant):
        return NotFound("There is no such review.")
    if one.state not in ("open", asked.verdict):
        return ReviewDecided(f"{one.decided_by} has {one.state} it, at {one.decided_at:%Y-%m-%dT%H:%M:%SZ}.")
    return None


def _decide(tx: Tx, item: Item[Decide], one: Review, sagas: dict[UUID, Saga], now: datetime) -> None:
    one.state, one.decided_at = item.command.verdict, now
    one.decided_by, one.reason = item.actor, item.command.reason
    if one.state == "cancelled":
        saga = sagas[one.bill_id] = sagas[one.bill_id]._replace(sequence=sagas[one.bill_id].sequence + 1)
        one.request_id, one.sequence = uuid7(), saga.sequence
        _ask(tx, item, one)
    tx.audit(
        f"review.{'release' if one.state == 'released' else 'cancel'}",
        f"bill/{one.bill_id}",
        item=item,
        before={"state": "open", "patterns": one.patterns},
        after={"state": one.state, "reason": one.reason, "points": one.points},
    )


async def _take_gifts(tx: Tx, cancelled: Sequence[tuple[Review, Item[Any]]]) -> None:
    """Takes back the stamps and rewards that these bills gave in the wallets under review. Targets: what a refund took before
    is not taken again, and a verdict that is given again takes nothing more."""
    decisions = await _decisions(tx, [one for one, _ in cancelled])
    taken = [
        TakenBack(
            one.bill_id, all_stamps(one.bill_id, decisions[one.bill_id, one.wallet_id]), [one.wallet_id], item
        )
        for one, item in cancelled
    ]
    await take_back(tx, taken)


def _ask(tx: Tx, item: Item[Any], review: Review) -> None:
    """The bank takes back all of it: it is held, so nobody has spent any."""
    assert review.request_id is not None
    assert review.sequence is not None
    assert review.decided_at is not None
    tx.emit(
        ReversalRequested(
            request_id=review.request_id,
            refund_id=None,
            bill_id=review.bill_id,
            accrual_id=review.accrual_id,
            wallet_id=review.wallet_id,
            programme=review.programme,
            currency=review.currency,
            point_value=review.point_value,
            reverse_through=review.points,
            on_spent="partial",
            effective_at=review.decided_at,
            decided_at=review.decided_at,
        ),
        subject=str(review.bill_id),
        sequence=review.sequence,
        item=item,
    )


async def cancelled(tx: Tx, items: Sequence[Item[Any]]) -> dict[UUID, Review]:
    """By request those of these answers of the bank that are about cancelled reviews."""
    asked = {
        item.command.request_id
        for item in items
        if isinstance(item.command, PointsReversed) and item.command.refund_id is None
    }
    return await store.cancelled_by(tx.db, asked) if asked else {}


async def hear_cancelled(
    tx: Tx, items: Sequence[Item[Any]], reviews: dict[UUID, Review]
) -> list[tuple[Judged, UUID, int, int]]:
    """Keeps what the bank took, takes it off the plans, and says what budgets and caps get back. The bills' sagas are locked."""
    heard = {item.command.request_id: item for item in items if item.command.request_id in reviews}
    fresh = await store.cancelled_by(tx.db, heard)
    new = [item for request_id, item in heard.items() if fresh[request_id].answer_event_id is None]
    if not new:
        return []
    answers, back = [], []
    plans = await holds.plans_of_bills(tx.db, {fresh[item.command.request_id].bill_id for item in new})
    decisions = await _decisions(tx, [fresh[item.command.request_id] for item in new])
    touched = []
    for item in new:
        answer, review = item.command, fresh[item.command.request_id]
        own = [plan for plan in plans.get(review.bill_id, ()) if plan.accrual_id == review.accrual_id]
        for plan in own:  # also what had died with its lot meanwhile: nothing is left that could be released
            plan.cancelled, plan.next_at = plan.points - plan.released, None
        touched += own
        took = answer.reversed.points + answer.hold_cancelled.points + answer.owed.points
        answers.append((review.review_id, UUID(item.event_id), took))
        judged = decisions[review.bill_id, review.wallet_id]
        back.append((judged, review.accrual_id, answer.reversed_through - took, answer.reversed_through))
    await holds.cancel_plans(tx.db, touched)
    await store.answer(tx.db, answers)
    return back


async def _decisions(tx: Tx, reviews: Collection[Review]) -> dict[tuple[UUID, UUID], Judged]:
    bills = await refunds.bills_by_reference(tx.db, {(one.merchant, one.bill_ref) for one in reviews})
    return {
        (bill.bill_id, judged.wallet_id): judged
        for bill in bills.values()
        for judged in bill.decision.programmes
    }
