"""What a draft would have given for bills that were: judged by earn's own rules from the inputs that their decisions kept.

Bills go by in the order in which they happened, in one snapshot of the database, read by the auditor; a page of them is held at a
time. Each is judged in the wallets in which it was judged, at the tier of then; caps and budgets of the draft begin at zero with
the first bill, and member caps count what acts gave until then. Where the draft asks what a member did before and the version of
then did not, it is counted along the way; where it asks for segments and that version did not, they are those that earn has heard
of by now. A bill in another currency is converted by the rate of its decision; one that the draft passes over counts on neither
side. Nothing is written, and refunds are left out on both sides: points are those that were decided, and stamps and benefits those
that were given.

What tills would have claimed at the checkout nobody knows, so it is said (docs/decisions/0167): what was on offer then they claim
on the bills on which they did, and all of the draft's worth where they gave all that it was worth then; what was not on offer is
given wherever the draft offers it. Bills keep the lines that were paid. A stamp card goes on from the stamps that were on it at the
member's first bill in the time, a new one from none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from pointbank.reports.simulated import Simulated
from services.earn.domain.bill import Claims, RecordBill, stored_claims, stored_lines, stored_tenders
from services.earn.domain.conversion import Rate
from services.earn.domain.decision import Decision, Judged, decode_decision
from services.earn.domain.judge import (
    BudgetKey,
    CapKey,
    CardKey,
    Facts,
    Member,
    RateKey,
    SegmentStay,
    Standing,
    Wallet,
    decide,
    weigh,
)
from services.earn.domain.limits import MAX_MINOR
from shared.db import Connection
from shared.identity import Identity
from shared.programme.compiled import CompiledProgramme, compile_programme
from shared.programme.days import since
from shared.programme.subject import Activity
from shared.programme.validation import as_written
from shared.sql import load

queries = load("pointbank.reports", "simulation.sql")

PAGE = 1_000
"""Bills that are held at a time."""

_NOBODY = UUID(int=0)


class NoSuchVersion(Exception):
    """The programme has no such version; the message says which was asked for."""


async def simulate(
    db: Connection,
    document: Mapping[str, Any],
    *,
    from_at: datetime,
    to_at: datetime,
    said: Callable[[int, int], None] = lambda done, of: None,
) -> Simulated:
    """Runs a draft over the bills of a time, `to_at` not included. `said`: bills so far, of how many. Refuses programme_invalid."""
    as_written(document)  # whose mistakes are its author's
    draft = compile_programme(document, 0)
    async with db.transaction(isolation="repeatable_read", readonly=True):
        of = await queries.bills_between(db, from_at=from_at, to_at=to_at)
        found = Simulated(draft.code, draft.currency, from_at, to_at)
        run = _Run(db, draft, found)
        said(0, of)
        cursor = await db.cursor(queries.texts()["bills"], from_at, to_at)
        while page := await cursor.fetch(PAGE):
            await run.judge(page)
            said(run.found.bills, of)
        assert await queries.wrote(db) is None, "a simulation has written something"
    return run.found


async def read_draft(db: Connection, programme: str, version: int) -> dict[str, Any]:
    """The document of a version that members keeps."""
    text = await queries.draft(db, programme=programme, version=version)
    if text is None:
        raise NoSuchVersion(f"there is no version {version} of {programme}")
    document: dict[str, Any] = msgspec.json.decode(text)
    return document


class _Run:
    def __init__(self, db: Connection, draft: CompiledProgramme, found: Simulated) -> None:
        self._db, self._draft, self.found = db, draft, found
        self._spent: dict[CapKey | BudgetKey, int] = {}
        self._cards: dict[CardKey, int] = {}
        self._activity: dict[UUID, Activity] = {}
        self._asks = "activity" in draft.book.asks
        self._stays: dict[UUID, list[SegmentStay]] = {}
        self._caps = () if draft.limits is None else draft.limits.caps
        self._acts: deque[Any] = deque()  # that are not counted yet
        self._acts_from = found.from_at

    async def judge(self, page: Sequence[Any]) -> None:
        """The next bills."""
        read = [(row, decode_decision(row["decision"])) for row in page]
        if self._asks:
            await self._meet(read)
        if "segments" in self._draft.book.asks:
            await self._place(read)
        if self._caps:
            await self._hear_acts(page[-1]["occurred_at"])
        for row, decision in read:
            self.found.bills += 1
            self._count_acts(row["occurred_at"])
            for was in decision.programmes:
                if was.programme == self._draft.code:
                    self._one(row, decision, was)
        self._forget(page[-1]["occurred_at"])

    async def _meet(self, read: Sequence[tuple[Any, Decision]]) -> None:
        """What members did before the first of their bills that goes by."""
        first: dict[UUID, UUID] = {}
        for row, decision in read:
            for was in decision.programmes:
                if was.programme == self._draft.code and was.wallet_id not in self._activity:
                    first.setdefault(was.wallet_id, row["bill_id"])
        if first:
            rows = await queries.activity(self._db, wallet_ids=list(first), before=list(first.values()))
            self._activity |= {row[0]: Activity(row[1], row[2], row[3]) for row in rows}

    async def _place(self, read: Sequence[tuple[Any, Decision]]) -> None:
        """The segments of members about whom the version of then did not ask."""
        self._stays = {}
        members = {
            decision.member_id
            for _, decision in read
            for was in decision.programmes
            if was.programme == self._draft.code and _segments(was) is None
        }
        for row in await queries.stays(self._db, member_ids=list(members)) if members else ():
            self._stays.setdefault(row[0], []).append(SegmentStay(row[1], row[2], row[3]))

    async def _hear_acts(self, through: datetime) -> None:
        """What acts gave until then: it counts against the caps of a member."""
        self._acts += await queries.acts(
            self._db, programme=self._draft.code, from_at=self._acts_from, through=through
        )
        self._acts_from = through + timedelta(microseconds=1)

    def _count_acts(self, before: datetime) -> None:
        # Not those of the same moment: a referral happens with its bill, and is judged after it.
        while self._acts and self._acts[0]["occurred_at"] < before:
            wallet_id, occurred_at, points = self._acts.popleft()
            day = occurred_at.astimezone(self._draft.zone).date()
            for period, _ in self._caps:
                key = wallet_id, "", period, since(period, day)
                self._spent[key] = self._spent.get(key, 0) + points

    def _one(self, row: Any, decision: Decision, was: Judged) -> None:
        found, bill = self.found, _bill(row)
        assert bill.identity is not None
        assert decision.member_id is not None
        standing = None
        if was.tier is not None and was.tier_event_id is not None and was.tier_sequence is not None:
            standing = Standing(was.tier, was.tier_event_id, was.tier_sequence, bill.occurred_at)
        wallet = Wallet(was.wallet_id, was.programme, standing)
        brand = row["brand"]
        if was.details is not None and (inputs := was.details.inputs) is not None:
            brand = inputs.brand or brand
            if inputs.bills is not None:
                self._activity[was.wallet_id] = Activity(
                    inputs.bills, inputs.last_bill_at, inputs.enrolled_at
                )
        stays = self._stays.get(decision.member_id, [])
        if (known := _segments(was)) is not None:
            stays = [SegmentStay(segment, bill.occurred_at, None) for segment in known]
        facts = Facts(
            merchants=(),
            terminals=(),
            members={bill.identity.hash: Member(decision.member_id, True, (wallet,))},
            programmes={self._draft.code: [(bill.occurred_at, self._draft)]},
            brands={} if brand is None else {bill.merchant: brand},
            rates=_rates(bill, was),
            segments={decision.member_id: stays},
        )
        weighed = weigh(bill, facts, bill.occurred_at, self._activity if self._asks else None)
        weighed = msgspec.structs.replace(
            weighed, bill=msgspec.structs.replace(bill, claims=_claims(self._draft, bill, was))
        )
        for card in was.stamps:
            if card.stamps:
                self._cards.setdefault((was.wallet_id, card.card), card.before)
        made = decide(weighed, lambda: _NOBODY, self._spent, self._cards).programmes
        if not made:
            found.passed_over += 1  # in a currency that the draft does not take, or was not converted into
            found.passed_over_points += was.points
            return
        [would] = made
        found.add(was, would)

    def _forget(self, at: datetime) -> None:
        """Counts of periods that are over: bills go by in the order in which they happened."""
        today = at.astimezone(self._draft.zone).date()
        for key in [key for key in self._spent if len(key) == 4 and key[3] < since(key[2], today)]:
            del self._spent[key]


def _bill(row: Any) -> RecordBill:
    return RecordBill(
        merchant=row["merchant"],
        terminal=row["terminal"],
        cashier=row["cashier"],
        bill_ref=row["bill_ref"],
        channel=row["channel"],
        occurred_at=row["occurred_at"],
        identity=Identity(row["identity_kind"], row["identity"]),
        currency=row["currency"],
        total_minor=row["total_minor"],
        programmes=None,
        lines=stored_lines(row["lines"]),
        lines_json=b"",
        content_hash=b"",
        tenders=stored_tenders(row["tenders"]),
        claims=stored_claims(row["effects_applied"]),
    )


def _claims(draft: CompiledProgramme, bill: RecordBill, was: Judged) -> Claims:
    """What tills would claim for the draft's campaigns: see the head."""
    known = {one.campaign: one for one in was.offers if one.result != "unknown"}
    claims: list[tuple[str, str, int]] = []
    for campaign in draft.book.offers:
        then = known.get(campaign.code)
        if then is None or not then.worth_minor:
            claims.append((draft.code, campaign.code, MAX_MINOR))
        elif then.claimed_minor is not None:
            whole = then.claimed_minor >= then.worth_minor
            claims.append((draft.code, campaign.code, MAX_MINOR if whole else then.claimed_minor))
    return tuple(claims)


def _segments(was: Judged) -> tuple[str, ...] | None:
    """Those that the decision kept; None where nothing asked for them."""
    inputs = None if was.details is None else was.details.inputs
    return None if inputs is None else inputs.segments


def _rates(bill: RecordBill, was: Judged) -> dict[RateKey, Rate]:
    """The rate by which the bill was converted then, if it was."""
    if (by := was.conversion) is None:
        return {}
    rate = Rate(by.number, by.rate, by.valid_from, by.source)
    return {(by.from_currency, was.currency, bill.occurred_at): rate}
