"""Referrals: each learned as it was told, decided by the first bill of the referred member alone, and given for once to both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.events import Asked, Envelope, MemberEnrolled, ReversalRefused, Reversed

_ROLES = ("referrer", "referred")
MOST_TIMES = 100_000
"""So often nothing is asked."""
_AT_ONCE = timedelta(minutes=1)
"""Of two bills that are judged at the same moment, the one whose transaction began later may be the first."""


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    amount_minor: int
    bill_id: str
    minimum_minor: int
    referred: str
    role: str


class _Converted(msgspec.Struct, frozen=True):
    total_minor: int


class _Judged(msgspec.Struct, frozen=True):
    programme: str
    wallet_id: str
    version: int
    conversion: _Converted | None = None


class _Decision(msgspec.Struct, frozen=True):
    programmes: tuple[_Judged, ...] = ()


_data = msgspec.json.Decoder(_Data).decode
_decision = msgspec.json.Decoder(_Decision).decode


class Referrals:
    """The side of what earn keeps, and that of the enrolments that told of it."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._learned = books.match(
            "referrals:learned", 1, "each referral that earn heard of is kept there, in each programme of the member",
            ("referrer",), ours="the events", theirs="earn",
        )  # fmt: skip
        self._given = books.match(
            "referrals:given", 1, "who referred and who was referred have one act each where the first bill reached the minimum",
            ("member", "occurred_at", "bill", "amount", "minimum"), ours="the referrals", theirs="the acts",
        )  # fmt: skip

        self._asked = books.match(
            "referrals:asked", 5, "each request to take a referral back was told as often as it says, always the same",
            ("accrual", "bill", "wallet", "programme", "point_value", "points", "on_spent", "effective_at", "decided_at"),
            ours="the requests", theirs="the events",
        )  # fmt: skip
        self._answered = books.match(
            "referrals:answered", 8, "what was taken back of a referral is what the bank said last", ("taken back", "code"),
            ours="the requests", theirs="the events",
        )  # fmt: skip
        self._requests: set[str] = set()
        self._answers: dict[str, tuple[int, str | None]] = {}

    def on_asked(self, n: int | None, envelope: Envelope, asked: Asked) -> None:
        """points.reversal_requested that is of no refund of the wallet's member."""
        # Of an act: what else is asked without a refund is said about its bill.
        if asked.refund_id is None and envelope.subject != asked.bill_id:
            self._requests.add(asked.request_id)
            self._asked.theirs(
                (
                    (asked.request_id, envelope.subject, int(envelope.sequence)), asked.accrual_id, asked.bill_id, asked.wallet_id,
                    asked.programme, asked.point_value, asked.reverse_through, asked.on_spent, asked.effective_at,
                    asked.decided_at,
                )
            )  # fmt: skip

    def on_reversed(self, n: int | None, envelope: Envelope, told: Reversed) -> None:
        """points.reversed, the answer."""
        if told.refund_id is None and self._books.heard["redeem", "earn"].applied(n):
            before, _ = self._answers.get(told.request_id, (0, None))
            self._answers[told.request_id] = max(before, told.reversed_through), None

    def on_refused(self, n: int | None, envelope: Envelope, told: ReversalRefused) -> None:
        """points.reversal_refused, the other answer."""
        if told.refund_id is None and self._books.heard["redeem", "earn"].applied(n):
            self._answers.setdefault(told.request_id, (0, told.code))

    def on_enrolled(self, n: int | None, envelope: Envelope, event: MemberEnrolled) -> None:
        """member.enrolled."""
        if event.referred_by in (None, event.member_id) or not self._books.heard["members", "earn"].applied(
            n
        ):
            return
        for wallet in event.wallets:
            self._learned.ours(((event.member_id, wallet.programme), event.referred_by))

    async def walk(self) -> None:
        """Every referral, and every act that came of one."""
        books, snapshot = self._books, self._books.snapshot
        made = books.check(
            "referrals:decided",
            8,
            "each referral is decided by the first bill of its member, as that bill and its version say",
        )
        members: dict[str, str] = {}
        async for page in snapshot.pages("earning/referrals.sql", "acts"):
            for act in page:
                try:
                    data = _data(act["data"])
                except msgspec.MsgspecError as error:
                    made.wrong(f"act {act['act_ref']} can't be read: {error}")
                    continue
                ref = f"{data.referred}/{act['programme']}/{data.role}"
                if ref != act["act_ref"]:
                    made.wrong(f"act {act['act_ref']} is about {ref}")
                named = self._person(act["member_id"])
                if named is not None:
                    members[act["act_ref"]] = named
                self._given.theirs(
                    (
                        act["act_ref"],
                        named,
                        act["occurred_at"],
                        data.bill_id,
                        data.amount_minor,
                        data.minimum_minor,
                    )
                )
        async for page in snapshot.pages("earning/referrals.sql", "referrals"):
            books.progress("referrals")
            for row in page:
                made.compared += 1
                with books.reading("referral of", row["member_id"], "in", row["programme"]):
                    for problem in self._objections(row):
                        made.wrong(f"referral of {row['member_id']} in {row['programme']}: {problem}")
                self._learned.theirs(((row["member_id"], row["programme"]), row["referrer_id"]))
                if row["outcome"] != "reached" or row["due"]:
                    continue
                for role in _ROLES:
                    member_id = row["referrer_id"] if role == "referrer" else row["member_id"]
                    ref = f"{row['member_id']}/{row['programme']}/{role}"
                    # Whose identity is not known here, of that one it can't be said whom it names: not heard yet, or erased.
                    known = self._person(member_id) if ref in members else None
                    self._given.ours(
                        (
                            ref,
                            known,
                            row["occurred_at"],
                            row["bill_id"],
                            row["amount_minor"],
                            row["minimum_minor"],
                        )
                    )

        requests = books.check(
            "referrals:requests", 8, "what is to be taken back of a referral is all that it gave"
        )
        async for page in snapshot.pages("earning/referrals.sql", "reversals"):
            for row in page:
                requests.compared += 1
                if (row["points"], row["wallet_id"]) != (row["earned"], row["earned_in"]):
                    requests.wrong(
                        f"request {row['request_id']} is for {row['points']} of {row['earned']} points"
                    )
                if not row["of_refund"]:
                    requests.wrong(f"request {row['request_id']} names a refund that is not of its bill")
                first, last = row["first"] or row["sequence"], row["sequence"]
                if last - first > MOST_TIMES:
                    requests.wrong(f"request {row['request_id']} was made {last - first + 1} times")
                for place in range(max(first, last - MOST_TIMES), last + 1):
                    self._asked.ours(
                        (
                            (row["request_id"], row["act_id"], place), row["accrual_id"], row["bill_id"], row["wallet_id"],
                            row["programme"], row["point_value"], row["points"], row["on_spent"], row["effective_at"],
                            row["decided_at"],
                        )
                    )  # fmt: skip
                if row["status"] != "asked":
                    self._answered.ours((row["request_id"], row["through"], row["code"]))
        for request_id in self._requests & self._answers.keys():
            answer = self._answers[request_id]
            self._answered.theirs((request_id, *answer))

    def _person(self, member_id: str | None) -> str | None:
        """Who this member goes on as."""
        return None if member_id is None else self._books.merges.person(member_id)

    def _objections(self, row: Any) -> Iterator[str]:
        if row["referrer_id"] == row["member_id"]:
            yield "it is of oneself"
        terms = self._books.terms
        minimums = {
            version: next((one["minimum_minor"] for one in known.acts if one.get("on") == "referral"), None)
            for (code, version), known in terms.items()
            if code == row["programme"]
        }
        if row["outcome"] is None:
            if row["due"]:
                yield "something is due, and nothing was decided"
            oneself = self._person(row["referrer_id"]) == self._person(row["member_id"])
            giving = {str(version) for version, minimum in minimums.items() if minimum is not None}
            if not oneself and giving & set(row["versions"] or ()):
                yield "a bill was judged by a version that gives for referrals, and did not decide it"
            elif not oneself and giving & set(row["versions_of_merged"] or ()):
                yield "a bill of who is one with the member was judged by one that gives for referrals, and did not decide it"
            return
        if row["decision"] is None:
            yield f"bill {row['bill_id']} is not there"
            return
        decision = _decision(row["decision"])
        judged = [one for one in decision.programmes if one.programme == row["programme"]]
        by = [(one.wallet_id in row["family"], one.version) for one in judged]
        if by != [(True, row["version"])]:
            yield f"bill {row['bill_id']} was not judged for this member by version {row['version']}"
            return
        if row["occurred_at"] != row["bill_occurred_at"]:
            yield f"the bill happened at {row['bill_occurred_at']}"
        converted = judged[0].conversion
        amount = row["total_minor"] if converted is None else converted.total_minor
        minimum = minimums.get(row["version"])
        earlier = row["before"] is not None and row["before"] < row["judged_at"] - _AT_ONCE
        computed = "not_declared" if minimum is None else "reached" if amount >= minimum else "below"
        if row["outcome"] == "not_first":
            minimum = None
            first = min(filter(None, (row["before"], row["before_of_merged"])), default=None)
            if not row["beaten"] and (first is None or first > row["judged_at"] + _AT_ONCE):
                yield "no other bill of the member was judged before"
        elif row["beaten"]:
            yield f"bill {row['bill_id']} decided the referral of who is one with the member, and was enrolled before"
        elif row["outcome"] != computed:
            yield f"it is {row['outcome']}, computed {computed}"
        elif earlier:
            yield f"another bill of the member was judged at {row['before']}"
        elif row["known_of_merged"] is not None and row["known_of_merged"] < row["judged_at"] - _AT_ONCE:
            yield f"a bill of who is one with the member was judged, and that known, at {row['known_of_merged']}"
        if (row["amount_minor"], row["minimum_minor"]) != (amount, minimum):
            yield f"amount and minimum are {row['amount_minor']} and {row['minimum_minor']}, computed {amount} and {minimum}"
        elif minimum is not None and not row["review"]:
            total = row["total_minor"]
            within = [
                minor
                for at, minor in json.loads(row["refunded"] or "[]")
                if terms[row["programme"], row["version"]].refunds_until(
                    row["bill_occurred_at"], datetime.fromisoformat(at)
                )
            ]
            left = amount * (total - sum(within))
            back = row["earned"] if computed == "reached" and total and left < minimum * total else 0
            if row["asked"] != back:
                yield f"{row['asked']} of its accruals were asked back, computed {back}"
