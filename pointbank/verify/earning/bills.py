"""Bills: each recorded once, judged as its decision says, told once; and what they earned, on its way to the bank."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import Any

import msgspec

from pointbank.verify.books import Books, Follower, known_ids
from pointbank.verify.earning.counters import Counters
from pointbank.verify.earning.decisions import (
    OPEN,
    Decision,
    SegmentWords,
    Standings,
    countable,
    decode_decision,
    decode_lines,
    objections,
    told_accruals,
)
from pointbank.verify.earning.gifts import Gifts
from pointbank.verify.earning.hold_plans import HoldPlans
from pointbank.verify.earning.reviews import Reviews
from pointbank.verify.events import BillAnswer, BillRejected, Envelope, PointsAccrued, entries_of
from pointbank.verify.report import Check

_encode = msgspec.json.Encoder().encode
_sorted = msgspec.json.Encoder(order="sorted").encode

MOST = 1 << 63
"""No number that is kept is as high."""

_ANSWER = (
    "bill",
    "status",
    "merchant",
    "bill_ref",
    "occurred_at",
    "entries",
    "place",
    "accruals",
)
_ACCRUED = (
    "kind", "bill", "member", "wallet", "programme", "version", "currency", "point_value", "effective_at", "decided_at",
    "place", "points", "lots",
)  # fmt: skip


class Bills:
    """The bills' side, and the side of earn's events."""

    def __init__(self, books: Books, gifts: Gifts, reviews: Reviews, plans: HoldPlans) -> None:
        self._books, self._gifts, self._reviews, self._plans = books, gifts, reviews, plans
        self._terms_of = books.terms.get
        self._recorded = books.match(
            "bills:told", 5, "each bill has one bill.recorded event, with what was decided first", _ANSWER,
            ours="the bills", theirs="the events",
        )  # fmt: skip
        self._settled = books.match(
            "bills:settled", 5, "each further decision has one bill.settled event", ("event", *_ANSWER),
            ours="the decisions", theirs="the events",
        )  # fmt: skip
        self._accrued = books.match(
            "accruals:told", 5, "each accrual of a decision, about a bill or an act, has one points.accrued event", _ACCRUED,
            ours="the decisions", theirs="the events",
        )  # fmt: skip
        self._kept = books.match(
            "accruals:kept", 8, "each wallet of a decision has its accruals in the table", ("bill", "wallet", "kind", "points"),
            ours="the decisions", theirs="the table",
        )  # fmt: skip
        self.counters = Counters()
        self._taken: dict[str, int] = {}  # of the bill that is looked at, by accrual
        self._refused: set[str] = set()  # its rewards
        self._rejected = books.match(
            "rejections:told", 9, "each rejection has one bill.rejected or act.rejected event",
            ("subject", "place", "code", "what"),
            ours="the rejections", theirs="the events",
        )  # fmt: skip

    # ---- the side of the tables

    async def walk(self) -> None:
        """Every bill with its decisions."""
        books, snapshot = self._books, self._books.snapshot
        keys = books.check(
            "bills:keys", 1, "each bill has one key, with the hash of its content; each key has its bill"
        )
        made = self._made = books.check(
            "bills:decisions", 8, "each decision comes out again from its bill, its lines and its inputs"
        )
        chain = books.check(
            "bills:chain", 8, "decisions count from 1; a bill waits until one of them settles it"
        )
        decisions = Follower(snapshot, "earning/bills.sql", "decisions")
        taken = Follower(snapshot, "earning/bills.sql", "taken")
        refused = Follower(snapshot, "earning/gifts.sql", "refused")
        async for page in snapshot.pages("earning/bills.sql", "bills"):
            books.progress("bills")
            await decisions.fill(page[-1]["id"])
            await taken.fill(page[-1]["id"])
            await refused.fill(page[-1]["id"])
            found = [(bill, self._decode(decisions.take(bill["id"]))) for bill in page]
            standings = await self._standings(found)
            words = await self._words(found)
            months = await self.birth_months_of(
                (decision.member_id, (judged.programme, judged.version))
                for _, judgements in found
                for _, decision in judgements
                for judged in decision.programmes
            )
            for bill, judgements in found:
                self._taken = {row["accrual_id"]: row["points"] for row in taken.take(bill["id"])}
                self._refused = {row["effect_id"] for row in refused.take(bill["id"])}
                with books.reading("the key of bill", bill["id"]):
                    _check_keys(keys, bill)
                if bill["has_bill"]:
                    with books.reading("bill", bill["id"]):
                        self._bill(bill, judgements, made, chain, standings, words, months)
                elif judgements:
                    chain.wrong(f"bill {bill['id']} has a decision and is not there")
        async for orphan in decisions.rest():
            chain.wrong(f"bill {orphan[0]} has a decision and is not there")
        await self._others()

    def _decode(self, rows: list[Any]) -> list[tuple[Any, Decision]]:
        found = []
        for row in rows:
            try:
                decision = decode_decision(row["decision"])
            except msgspec.MsgspecError as error:
                self._made.wrong(f"bill {row['id']}, decision {row['n']} can't be read: {error}")
                decision = Decision("unreadable")
            found.append((row, decision))
        return found

    async def _standings(self, found: list[tuple[Any, list[tuple[Any, Decision]]]]) -> Standings:
        return await self.standings_of(
            {
                (judged.wallet_id, judged.tier_sequence)
                for _, judgements in found
                for _, decision in judgements
                for judged in decision.programmes
                if judged.tier_sequence is not None
            }
        )

    async def standings_of(self, used: Collection[tuple[str, int]]) -> Standings:
        """Those of (wallet, sequence) that earn heard."""
        used = [one for one in used if known_ids(one[:1]) and 0 < one[1] < MOST]
        if not used:
            return {}
        rows = await self._books.snapshot.rows(
            "earning/bills.sql",
            "standings",
            [wallet for wallet, _ in used],
            [sequence for _, sequence in used],
        )
        return {(row[0], row[1]): (row[2], row[3], row[4], row[5]) for row in rows}

    async def birth_months_of(self, judged: Iterable[tuple[str | None, tuple[str, int]]]) -> dict[str, int]:
        """Of members, each with the version that judged something of theirs: the birth months that earn knows, where points
        expire by them."""
        asked = {
            member_id
            for member_id, version in judged
            if (terms := self._terms_of(version)) is not None and terms.by_birth_month
        }
        if not (ids := known_ids(asked)):
            return {}
        return dict(await self._books.snapshot.rows("earning/bills.sql", "birth_months", ids))

    async def _words(self, found: list[tuple[Any, list[tuple[Any, Decision]]]]) -> SegmentWords:
        asked = {
            decision.member_id
            for _, judgements in found
            for _, decision in judgements
            for judged in decision.programmes
            if judged.details.inputs.segments is not None
        }
        words: SegmentWords = {}
        if ids := known_ids(asked):
            for row in await self._books.snapshot.rows("members/segments.sql", "words_about", ids):
                words.setdefault(row[0], []).append((row[2], row[3], row[4]))
        return words

    def _bill(
        self,
        bill: Any,
        judgements: list[tuple[Any, Decision]],
        made: Check,
        chain: Check,
        standings: Standings,
        words: SegmentWords,
        birth_months: dict[str, int],
    ) -> None:
        bill_id = bill["id"]
        try:
            lines = countable(decode_lines(bill["lines"]))
        except msgspec.MsgspecError as error:
            made.wrong(f"bill {bill_id}: its lines can't be read: {error}")
            return
        if lines and sum(line.amount_minor for line in lines) != bill["total_minor"]:
            made.wrong(f"bill {bill_id}: the lines do not add up to {bill['total_minor']}")
        chain.compared += 1
        for problem in _chain_problems(bill, judgements):
            chain.wrong(f"bill {bill_id}: {problem}")
        # First what it said: the second walk judges nothing, and must find the same of what no judgement can be made of.
        place = 0
        for row, decision in judgements:
            place = self._told(bill, row, decision, place)
        if self._books.closed:
            return
        for row, decision in judgements:
            made.compared += 1
            if decision.status in OPEN:
                if not decision.waiting_for or decision.programmes:
                    made.wrong(f"bill {bill_id}: {decision.status} for nothing, or with a result")
                continue
            at = row["decided_at"] if row["n"] == 1 else bill["recorded_at"]
            for problem in objections(
                bill,
                lines,
                decision,
                at,
                self._terms_of,
                self._books.versions_of,
                standings,
                words,
                self._books.rates,
                person=self._books.merges.person,
                birth_months=birth_months,
            ):
                made.wrong(f"bill {bill_id}, decision {row['n']}: {problem}")

    def _told(self, bill: Any, row: Any, decision: Decision, place: int) -> int:
        """Adds what this decision must have said; gives the place of its last event among those about the bill."""
        bill_id, first = bill["id"], row["n"] == 1
        place += first
        recorded_at = place
        for judged in decision.programmes:
            self.counters.count(judged, self._taken, self._refused)
            self._reviews.on_decided(bill, decision.member_id, judged)
            self._plans.decided(bill, judged)
            if judged.stamps or judged.offers:
                self._gifts.decided(bill_id, decision, judged)
            for one in judged.accruals:
                place += 1
                self._accrued.ours(
                    (
                        one.accrual_id, one.kind, bill_id, decision.member_id, judged.wallet_id, judged.programme,
                        judged.version, judged.currency, judged.point_value, bill["occurred_at"], row["decided_at"],
                        place, one.points, ((one.lot_id, one.points, one.expires_at),),
                    )
                )  # fmt: skip
                self._kept.ours((one.accrual_id, bill_id, judged.wallet_id, one.kind, one.points))
            if not judged.accruals:
                self._kept.ours(("no points", bill_id, judged.wallet_id, "earn", 0))
        own = (bill["stream_id"], bill["source"], bill["event_id"])
        entries = (own,) if first else told_entries(own, bill["listeners"], row["told"])
        answer = (
            bill_id, decision.status, bill["merchant"], bill["bill_ref"], bill["occurred_at"], entries,
        )  # fmt: skip
        accruals = told_accruals(decision, self._terms_of)
        if first:
            self._recorded.ours((bill["recorded_event_id"], *answer, recorded_at, accruals))
        else:
            place += 1
            self._settled.ours(((bill_id, place), row["told_as"], *answer, place, accruals))
        return place

    async def _others(self) -> None:
        books, snapshot = self._books, self._books.snapshot
        async for page in snapshot.pages("earning/bills.sql", "accruals"):
            for accrual_id, bill_id, wallet_id, kind, points in page:
                key = accrual_id if points else "no points"
                self._kept.theirs((key, bill_id, wallet_id, kind, points))
        async for page in snapshot.pages("earning/bills.sql", "rejections"):
            for event_id, subject, place, code, data in page:
                with books.reading("the rejection that was told as", event_id):
                    self._rejected.ours((event_id, subject, place, code, _sorted(msgspec.json.decode(data))))
        if books.closed:
            return
        await self.counters.compare(books)
        once = books.check("bills:once", 1, "no two bills were recorded under one id of a till")
        once.compared = await snapshot.value("earning/bills.sql", "from_tills")
        for source, event_id, count in await snapshot.rows("earning/bills.sql", "counted_twice"):
            once.wrong(f"{count} bills under {source} {event_id}")

    def announced(self, row: tuple[Any, ...]) -> None:
        """An accrual that a decision about something else than a bill must have said, in the form of a bill's."""
        self._accrued.ours(row)

    # ---- the side of the events

    def on_answer(self, n: int | None, envelope: Envelope, told: BillAnswer) -> None:
        """bill.recorded and bill.settled."""
        place = int(envelope.sequence)
        row = (
            told.bill_id, told.status, told.merchant, told.bill_ref, told.occurred_at, entries_of(told), place,
            tuple([accrual.row() for accrual in told.accruals]),
        )  # fmt: skip
        if envelope.type == "bill.recorded.v1":
            self._recorded.theirs((envelope.id, *row))
        else:
            self._settled.theirs(((told.bill_id, place), envelope.id, *row))

    def on_accrued(self, n: int | None, envelope: Envelope, told: PointsAccrued) -> None:
        """points.accrued."""
        self._accrued.theirs(
            (
                told.accrual_id, told.kind, told.bill_id or told.act_id, told.member_id, told.wallet_id, told.programme,
                told.programme_version, told.currency, told.point_value, told.effective_at, told.decided_at,
                int(envelope.sequence), told.points,
                tuple([(lot.lot_id, lot.points, lot.expires_at) for lot in told.lots]),
            )
        )  # fmt: skip

    def on_rejected(self, n: int | None, envelope: Envelope, told: BillRejected) -> None:
        """bill.rejected."""
        what = _sorted(msgspec.json.decode(envelope.data))
        self._rejected.theirs((envelope.id, envelope.subject, int(envelope.sequence), told.code, what))


def told_entries(
    own: tuple[Any, ...], listeners: str | None, told: int | None
) -> tuple[tuple[Any, ...], ...]:
    """The entries that stood in what was told again: its own first, then who else offered it, as many as there were by then."""
    known = [own] if own[0] is not None else []
    known += [tuple(one) for one in json.loads(listeners or "[]")]
    return tuple(known[: told or 0]) or ((None, None, None),)


def content_hash(bill: Any) -> bytes:
    """SHA-256 of a bill's canonical bytes (services/earn/README.md)."""
    head: tuple[Any, ...] = (
        bill["merchant"], bill["bill_ref"], bill["terminal"], bill["cashier"], bill["channel"], bill["occurred_at"],
        bill["identity_kind"], bill["identity"], bill["currency"], bill["total_minor"], bill["programmes"],
    )  # fmt: skip
    if bill["tenders"] is not None or bill["effects_applied"] is not None:
        head += (json.loads(bill["tenders"] or "[]"),)
    if bill["effects_applied"] is not None:
        head += (json.loads(bill["effects_applied"]),)
    return sha256(_encode(head) + b"\n" + bill["lines"].encode()).digest()


def _check_keys(check: Check, bill: Any) -> None:
    check.compared += 1
    if not bill["has_bill"]:
        check.wrong(
            f"key {bill['key_merchant']} {bill['key_ref']} names bill {bill['id']}, which is not there"
        )
    elif bill["content_hash"] is None:
        check.wrong(f"bill {bill['id']} has no key")
    elif (bill["merchant"], bill["bill_ref"], bill["recorded_at"]) != (
        bill["key_merchant"],
        bill["key_ref"],
        bill["key_recorded_at"],
    ):
        check.wrong(f"bill {bill['id']}: its key is of {bill['key_merchant']} {bill['key_ref']}")
    elif content_hash(bill) != bill["content_hash"]:
        check.wrong(f"bill {bill['id']}: its content is not what its key was taken for")
    elif bill["source"] is not None and bill["pos_hash"] != bill["content_hash"]:
        check.wrong(f"bill {bill['id']}: {bill['source']} {bill['event_id']} was not taken for it")


def _chain_problems(bill: Any, judgements: list[tuple[Any, Decision]]) -> list[str]:
    if not judgements:
        return ["it has no decision"]
    problems, place = [], 0
    for n, (row, decision) in enumerate(judgements, start=1):
        if row["n"] != n:
            problems.append(f"decision {row['n']} follows {n - 1}")
        if row["status"] != decision.status:
            problems.append(f"status {row['status']} beside a decision that says {decision.status}")
        # The first says recorded, then the accruals; a later one the accruals, then settled.
        place += 1 + sum(len(judged.accruals) for judged in decision.programmes)
        if row["sequence"] != place:
            problems.append(f"decision {n} ends at event {row['sequence']}, counted {place}")
        if n < len(judgements) and decision.status not in OPEN:
            problems.append(f"decision {n} is {decision.status}, and another follows")
    if judgements[0][0]["recorded_at"] != bill["recorded_at"]:
        problems.append("the first decision was not recorded with the bill")
    last, decision = judgements[-1]
    waits = (
        None
        if bill["waiting_n"] is None
        else (bill["waiting_n"], bill["waiting_sequence"], bill["unclaimed"])
    )
    wanted = (
        (last["n"], last["sequence"], decision.status == "unclaimed") if decision.status in OPEN else None
    )
    if waits != wanted:
        problems.append(f"its last decision is {decision.status}, it waits as {waits}")
    return problems
