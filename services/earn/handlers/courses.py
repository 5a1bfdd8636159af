"""The course of a bill's refunds, one at a time, under the lock of its saga."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from services.earn.domain.benefit import TakenStamps, taken_stamps
from services.earn.domain.refund import (
    WINDOW_CLOSED,
    Refund,
    RefundedBill,
    Request,
    check,
    conclude,
    open_programmes,
    refunded_within,
    requests_for,
    versions_for,
)
from services.earn.domain.versions import Versions, judged_by
from services.earn.handlers.benefits import TakenBack, gives, take_back
from services.earn.handlers.telling_refunds import on_behalf_of, tell_request, tell_settled
from services.earn.handlers.wake import settle_wake
from services.earn.store import referrals
from services.earn.store import refunds as store
from services.earn.store.facts import known_programmes
from services.earn.store.refunds import Saga
from shared.errors import Refusal
from shared.ids import uuid7
from shared.messaging import Item, Tx


class Course:
    """The refunds of one bill, in the order in which they were taken."""

    def __init__(
        self, bill: RefundedBill, saga: Saga, refunds: list[Refund], versions: Mapping[str, Versions], tx: Tx
    ) -> None:
        self.bill, self.saga, self.refunds = bill, saga, refunds
        self.moved: dict[UUID, Refund] = {}
        self.asked: list[tuple[Refund, Request]] = []
        self.taken: list[tuple[Refund, list[TakenStamps], list[UUID]]] = []
        self._versions, self._tx = versions, tx

    @property
    def refunded(self) -> tuple[int, ...]:
        """How much of each line was refunded."""
        taken = [refund.amounts for refund in self.refunds if refund.amounts is not None]
        return tuple([sum(column) for column in zip(*taken, strict=True)]) or (0,) * len(self.bill.amounts)

    @property
    def gives_for_referrals(self) -> bool:
        """Whether a version that the bill was judged by does."""
        return any(
            judged_by(self._versions, judged).referral is not None for judged in self.bill.decision.programmes
        )

    def take(self, refund: Refund) -> None:
        """A refund of this bill is next: refused, done with, begun, or put in the queue behind one that is in flight."""
        refund.bill_id = self.bill.bill_id
        self.moved[refund.refund_id] = refund
        try:
            refund.amounts = check(refund.asked, self.bill, self.refunded, currency=refund.currency)
        except Refusal as refusal:
            # It was answered before that could be known, or another was quicker.
            refund.refuse(refusal.code, refusal.detail)
            return
        refund.refunded_minor = sum(refund.amounts)
        self.saga = self.saga._replace(refunds=self.saga.refunds + 1)
        refund.n = self.saga.refunds
        self.refunds.append(refund)
        refund.status = "queued"
        self.go_on()

    def go_on(self) -> None:
        """Begins the next refund, unless one is in flight, until one is or none is left."""
        while not any(refund.status == "pending" for refund in self.refunds):
            following = next((refund for refund in self.refunds if refund.status == "queued"), None)
            if following is None:
                return
            self.moved[following.refund_id] = following
            self._begin(following)

    def _begin(self, refund: Refund) -> None:
        within = open_programmes(self.bill, self._versions, refund.occurred_at)
        if within is None:
            refund.refuse(
                WINDOW_CLOSED, "The window for refunds of this bill is closed: no points are moved."
            )
            return
        refund.requests = requests_for(
            refund,
            self.bill,
            self.refunds[: self.refunds.index(refund)],
            within=within,
            versions=self._versions,
            now=self._tx.now(),
            new_id=uuid7,
        )
        refund.status = "pending" if refund.requests else "completed"
        self.asked += [(refund, request) for request in refund.requests]
        if gives(self.bill.decision):
            self._take_gifts(refund)

    def _take_gifts(self, refund: Refund) -> None:
        """Stamps and rewards go with what was bought, whatever becomes of the points: also where the bank refuses to take these
        back. Those of a programme as far as its own window was open."""
        begun = self.refunds[: self.refunds.index(refund) + 1]
        refunded = refunded_within(self.bill, self._versions, begun)
        rewards = [
            judged.wallet_id
            for judged in self.bill.decision.programmes
            if judged.programme in refunded and sum(refunded[judged.programme]) == self.bill.total_minor
        ]
        self.taken.append((refund, list(taken_stamps(self.bill, refunded)), rewards))

    def answered(self) -> None:
        """Answers have come: what is in flight is concluded where they are all there, and the next one begun."""
        for refund in self.refunds:
            if refund.status == "pending" and not refund.unanswered:
                conclude(refund)
                self.moved[refund.refund_id] = refund
        self.go_on()

    def next_place(self) -> int:
        """The next place among the events about the bill, from now on taken."""
        self.saga = self.saga._replace(sequence=self.saga.sequence + 1)
        return self.saga.sequence


class Courses:
    """Those of a batch's bills; `write` says and writes what was decided."""

    def __init__(self, tx: Tx, by_bill: dict[UUID, Course]) -> None:
        self._tx = tx
        self._by_bill = by_bill
        self.events: dict[UUID, UUID] = {}

    def of(self, bill_id: UUID) -> Course:
        """The course of this bill."""
        return self._by_bill[bill_id]

    async def write(self, *, new: Collection[UUID], item_of: Mapping[UUID, Item[Any]]) -> None:
        """Tells requests, and refunds that are settled but for those that are `new`, and writes where all stand.

        `item_of`: by refund, what moved it.
        """
        tx, asked = self._tx, []
        for course in self._by_bill.values():
            for refund, request in course.asked:
                place = course.next_place()
                cause = on_behalf_of(refund, item_of.get(refund.refund_id))
                tell_request(tx, cause, course.bill, refund, request, place)
                asked.append((refund, request, place))
        moved = [refund for course in self._by_bill.values() for refund in course.moved.values()]
        known = [refund for refund in moved if refund.refund_id not in new]
        if known:
            await store.lock_refunds(tx.db, [refund.refund_id for refund in known])
            self.events = await tell_settled(tx, [refund for refund in known if refund.closed], item_of)
            await store.move_refunds(tx.db, known, events=self.events, settled_at=tx.now())
        await store.write_requests(tx.db, asked)
        if self._by_bill:
            await store.move_sagas(tx.db, {bill: course.saga for bill, course in self._by_bill.items()})
        if touched := {
            bill for bill, course in self._by_bill.items() if course.moved and course.gives_for_referrals
        }:
            await referrals.mark_for_review(tx.db, touched)
            tx.after_commit(settle_wake(tx.cache).set)
        taken = [
            TakenBack(
                course.bill.bill_id, stamps, rewards, on_behalf_of(refund, item_of.get(refund.refund_id))
            )
            for course in self._by_bill.values()
            for refund, stamps, rewards in course.taken
        ]
        if taken:
            await take_back(tx, taken)


async def follow(tx: Tx, bills: Iterable[RefundedBill]) -> Courses:
    """Locks the sagas of these settled bills, and reads how far their refunds are."""
    by_id = {bill.bill_id: bill for bill in bills}
    if not by_id:
        return Courses(tx, {})
    sagas = await store.lock_sagas(tx.db, {bill.bill_id: bill.sequence for bill in by_id.values()})
    refunds = await store.refunds_of_bills(tx.db, by_id)
    versions = await known_programmes(tx.db, tx.cache, versions_for(by_id.values()))
    return Courses(
        tx,
        {
            bill_id: Course(bill, sagas[bill_id], refunds.get(bill_id, []), versions, tx)
            for bill_id, bill in by_id.items()
        },
    )


async def follow_again(tx: Tx, bill_ids: Iterable[UUID]) -> Courses:
    """The same for bills that have a saga."""
    sagas = await store.lock_known_sagas(tx.db, set(bill_ids))
    refunds = await store.refunds_of_bills(tx.db, sagas)
    keys = {(found[0].merchant, found[0].bill_ref) for found in refunds.values()}
    bills = {bill.bill_id: bill for bill in (await store.bills_by_reference(tx.db, keys)).values()}
    versions = await known_programmes(tx.db, tx.cache, versions_for(bills.values()))
    return Courses(
        tx,
        {
            bill_id: Course(bills[bill_id], sagas[bill_id], found, versions, tx)
            for bill_id, found in refunds.items()
        },
    )
