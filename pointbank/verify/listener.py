"""Every event of a service, read once: its envelope checked, its place among those about its subject, its content handed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.earning.acts import Acts
from pointbank.verify.earning.bills import Bills
from pointbank.verify.earning.gifts import Gifts
from pointbank.verify.earning.hold_plans import HoldPlans
from pointbank.verify.earning.holds import Holds
from pointbank.verify.earning.referrals import Referrals
from pointbank.verify.earning.refunds import Refunds
from pointbank.verify.earning.reviews import Reviews
from pointbank.verify.earning.settlements import Settlements
from pointbank.verify.events import SAID_BY, Envelope, binary, decode_data, decode_envelope
from pointbank.verify.ledger.bank import Bank
from pointbank.verify.ledger.days import Days
from pointbank.verify.ledger.decided import Decided
from pointbank.verify.ledger.seals import Seals
from pointbank.verify.ledger.trust import Trust
from pointbank.verify.members.blocking import Blocking
from pointbank.verify.members.learned import Learned
from pointbank.verify.members.members import Members
from pointbank.verify.members.merging import Merging
from pointbank.verify.members.messages import Messages
from pointbank.verify.members.segments import Segments
from pointbank.verify.members.tiers import Tiers
from pointbank.verify.messaging.adoptions import ORPHANED, Adoptions
from pointbank.verify.messaging.outbox import OutboxWalk, Told
from pointbank.verify.messaging.places import AT_ONCE, Places, is_place
from pointbank.verify.messaging.streams import Copy
from pointbank.verify.reading import of_the_books, said_of
from pointbank.verify.report import Check
from pointbank.verify.spending.answers import Answers
from pointbank.verify.spending.asked_returns import AskedReturns
from pointbank.verify.spending.blocked_cards import BlockedCards
from pointbank.verify.spending.gift_cards import CHANGED, GiftCards
from pointbank.verify.spending.gift_cards import TOLD as MOVED
from pointbank.verify.spending.given import Given
from pointbank.verify.spending.rewards import Rewards
from pointbank.verify.spending.stock import Stock

Handler = Callable[[int | None, Envelope, Any], None]


class Listener:
    """The side of the events: hands each to who compares it."""

    def __init__(self, books: Books, trust: Trust) -> None:
        self._books = books
        self._check = books.check(
            "events", 5, "each event is well-formed, its service's to say, and of this tenant"
        )
        self._adopted = books.check(
            "adoptions", 5, "each orphan of an adopted stream is told of, and what was voided is told again"
        )
        gifts, plans = Gifts(books), HoldPlans(books)
        reviews = Reviews(books, gifts)
        members, bills, bank, rewards, tiers, messages = (
            Members(books),
            Bills(books, gifts, reviews, plans),
            Bank(books),
            Rewards(books),
            Tiers(books),
            Messages(books),
        )
        refunds, holds, seals = Refunds(books, gifts), Holds(books), Seals(books, trust)
        given, gift_cards, segments = Given(books), GiftCards(books), Segments(books)
        acts, referrals = Acts(books, bills), Referrals(books)
        blocking, learned, merging = Blocking(books), Learned(books), Merging(books)
        days, blocked_cards, returns = Days(books), BlockedCards(books), AskedReturns(books)
        self._tables = (
            acts,
            referrals,
            bills,
            reviews,
            plans,
            Settlements(books),
            refunds,
            gifts,
            holds,
            bank,
            returns,
            rewards,
            given,
            gift_cards,
            blocked_cards,
            Stock(books),
            Answers(books),
            seals,
            tiers,
            messages,
            members,
            merging,
            segments,
            blocking,
            learned,
            days,
            Decided(books),
        )
        self._on: dict[str, tuple[Handler, ...]] = {
            "programme.activated.v1": (members.on_programme, learned.on_programme),
            "merchant.changed.v1": (members.on_merchant, learned.on_merchant),
            "rate.published.v1": (members.on_rate,),
            "member.birthday.v1": (members.on_birthday,),
            "member.enrolled.v1": (members.on_enrolled, referrals.on_enrolled, learned.on_enrolled),
            "card.issued.v1": (members.on_card, learned.on_named),
            "member.segmented.v1": (segments.on_segmented,),
            "card.blocked.v1": (blocking.on_card, learned.on_blocked),
            "member.merged.v1": (members.on_merged, merging.on_merged),
            "wallet.blocked.v1": (blocking.on_blocked,),
            "wallet.unblocked.v1": (blocking.on_unblocked,),
            "bill.recorded.v1": (bills.on_answer,),
            "bill.settled.v1": (bills.on_answer,),
            "bill.rejected.v1": (bills.on_rejected,),
            "act.recorded.v1": (acts.on_answer,),
            "act.settled.v1": (acts.on_answer,),
            "act.rejected.v1": (bills.on_rejected,),
            "activation.recorded.v1": (holds.on_activation,),
            "activation.settled.v1": (holds.on_activation,),
            "points.accrued.v1": (bills.on_accrued, bank.on_accrued),
            "refund.recorded.v1": (refunds.on_refund,),
            "refund.settled.v1": (refunds.on_refund,),
            "points.return_requested.v1": (refunds.on_asked, returns.on_asked),
            "points.credited.v1": (bank.on_posted, messages.on_credited),
            "points.redeemed.v1": (bank.on_posted,),
            "points.expired.v1": (bank.on_posted,),
            "points.reserved.v1": (bank.on_posted,),
            "points.voided.v1": (bank.on_posted,),
            "points.returned.v1": (bank.on_returned, refunds.on_returned),
            "points.repaid.v1": (bank.on_posted,),
            "points.transferred.v1": (bank.on_posted,),
            "points.adjusted.v1": (bank.on_posted,),
            "points.reinstated.v1": (bank.on_posted,),
            "points.merged.v1": (bank.on_merged,),
            "points.release_requested.v1": (bank.on_asked, holds.on_asked),
            "points.reversal_requested.v1": (
                bank.on_asked,
                refunds.on_asked,
                reviews.on_asked,
                referrals.on_asked,
            ),
            "points.released.v1": (bank.on_released,),
            "points.reversed.v1": (bank.on_reversed, refunds.on_reversed, referrals.on_reversed),
            "points.reversal_refused.v1": (bank.on_refused, refunds.on_refused, referrals.on_refused),
            "points.expiring.v1": (bank.on_expiring, messages.on_expiring),
            "ledger.sealed.v1": (seals.on_sealed,),
            "accruals.day_told.v1": (days.on_told,),
            "reward.issued.v1": (rewards.on_issued,),
            "benefit.consumed.v1": (rewards.on_consumed,),
            "benefit.issued.v1": (rewards.on_given,),
            "benefit.withdrawn.v1": (rewards.on_ended,),
            "benefit.expired.v1": (rewards.on_ended,),
            "benefit.asked.v1": (given.on_asked, gifts.on_asked),
            "benefit.withdrawal_asked.v1": (given.on_asked, gifts.on_asked),
            "benefit.answered.v1": (given.on_answered, gifts.on_answered),
            **dict.fromkeys(MOVED.values(), (gift_cards.on_moved,)),
            **dict.fromkeys(CHANGED, (gift_cards.on_changed,)),
            "gift_card.blocked.v1": (blocked_cards.on_changed,),
            "gift_card.unblocked.v1": (blocked_cards.on_changed,),
            "tier.changed.v1": (tiers.on_changed, messages.on_tier, learned.on_standing),
            "message.delivered.v1": (messages.on_delivered,),
        }

    async def listen(self, service: str, copy: Copy) -> OutboxWalk:
        """All events of a service; `copy` learns what Redis must hold of them."""
        walk = OutboxWalk(self._books, service, watched=copy.n)
        async with self._books.part(f"events of {service}"):
            await self._listen(walk, copy)
        return walk

    async def _listen(self, walk: OutboxWalk, copy: Copy) -> None:
        service = walk.service
        planned = await walk.open()
        adoptions = Adoptions(self._books, service, self._adopted)
        await adoptions.load()
        parts = 1 + await self._said(service, planned) // AT_ONCE
        places = Places(self._books, service, part=0, parts=parts)
        async for events in walk.events():
            self._books.progress(f"events of {service}")
            for event in events:
                try:
                    self._hear(service, event, places, adoptions)
                except Exception as error:
                    if not of_the_books(error):
                        raise
                    self._check.wrong(f"event {event.n} of {service}: {said_of(error)}")
                if event.n is not None:
                    copy.watch(event.n, event.payload)
        adoptions.close()
        if self._books.closed:
            return  # a second walk names what differed; the places were right or wrong in the first
        await places.close()
        for part in range(1, parts):
            await self._places(service, part, parts)

    async def _said(self, service: str, planned: int) -> int:
        """How many events there may be. Where that is more than are looked at together, they are counted: no cut is believed."""
        if planned <= AT_ONCE:
            return planned
        [[said]] = await self._books.snapshot.service_rows("messaging/outbox.sql", "said", service)
        return int(said)

    async def walk(self) -> None:
        """The side of the tables, after all events."""
        for tables in self._tables:
            async with self._books.part(f"the tables of {_name(tables)}"):
                await tables.walk()

    def _hear(self, service: str, event: Told, places: Places, adoptions: Adoptions) -> None:
        self._check.compared += 1
        if adoptions.void(event):
            return
        try:
            envelope = decode_envelope(event.payload)
            if envelope.type == ORPHANED:
                adoptions.on_orphaned(event, envelope.data)
                return
            data = decode_data[envelope.type](envelope.data) if envelope.type in SAID_BY[service] else None
        except msgspec.MsgspecError as error:
            self._check.wrong(f"event {event.n} of {service}: {error}")
            return
        said = (envelope.source, envelope.tenantid)
        if (
            data is None
            or said != (f"/{service}", self._books.tenant)
            or binary(envelope.id) != event.event_id
        ):
            self._check.wrong(
                f"event {event.n} of {service} is {envelope.type} {envelope.id} of {envelope.source} of {envelope.tenantid}"
            )
            return
        if not is_place(envelope.sequence):
            self._check.wrong(
                f"event {event.n} of {service} is {envelope.type} {envelope.id}: its sequence is {envelope.sequence[:20]!r}"
            )
            # What else it says is compared as though it had the place that is due.
            if (due := places.due(envelope.subject)) is None:
                return
            envelope = msgspec.structs.replace(envelope, sequence=due)
        places.next(envelope, event.n)
        for handler in self._on[envelope.type]:
            handler(event.n, envelope, data)

    async def _places(self, service: str, part: int, parts: int) -> None:
        """Another walk over the same events for the places of the subjects of one more part."""
        places = Places(self._books, service, part=part, parts=parts)
        walk = OutboxWalk(self._books, service, quiet=True)
        await walk.open()
        adoptions = Adoptions(self._books, service, Check("", 5, ""))
        await adoptions.load()
        async for events in walk.events():
            for event in events:
                if adoptions.void(event):
                    continue
                try:
                    envelope = decode_envelope(event.payload)
                    if envelope.type != ORPHANED:
                        places.next(envelope, event.n)
                except (ValueError, msgspec.MsgspecError):
                    continue  # told by the first walk
        await places.close()


def _name(tables: object) -> str:
    return type(tables).__module__.rpartition(".")[2].replace("_", " ")
