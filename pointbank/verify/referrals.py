"""Referrals: each learned as it was told, decided by the first bill of the referred member alone, and given for once to both."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.events import Envelope, MemberEnrolled

_ROLES = ("referrer", "referred")
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
    version: int
    conversion: _Converted | None = None


class _Decision(msgspec.Struct, frozen=True):
    member_id: str | None = None
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
        async for page in snapshot.pages("referrals.sql", "acts"):
            for act in page:
                try:
                    data = _data(act["data"])
                except msgspec.ValidationError as error:
                    made.wrong(f"act {act['act_ref']} can't be read: {error}")
                    continue
                ref = f"{data.referred}/{act['programme']}/{data.role}"
                if ref != act["act_ref"]:
                    made.wrong(f"act {act['act_ref']} is about {ref}")
                if act["member_id"] is not None:
                    members[act["act_ref"]] = act["member_id"]
                self._given.theirs(
                    (
                        act["act_ref"], act["member_id"], act["occurred_at"], data.bill_id, data.amount_minor, data.minimum_minor,
                    )
                )  # fmt: skip
        async for page in snapshot.pages("referrals.sql", "referrals"):
            books.progress("referrals")
            for row in page:
                made.compared += 1
                for problem in self._objections(row):
                    made.wrong(f"referral of {row['member_id']} in {row['programme']}: {problem}")
                self._learned.theirs(((row["member_id"], row["programme"]), row["referrer_id"]))
                if row["outcome"] != "reached" or row["due"]:
                    continue
                for role in _ROLES:
                    member_id = row["referrer_id"] if role == "referrer" else row["member_id"]
                    ref = f"{row['member_id']}/{row['programme']}/{role}"
                    # Whose identity is not known here, of that one it can't be said whom it names: not heard yet, or erased.
                    known = member_id if ref in members else None
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
            if any(minimums.get(version) is not None for version in row["versions"] or ()):
                yield "a bill was judged by a version that gives for referrals, and did not decide it"
            return
        if row["decision"] is None:
            yield f"bill {row['bill_id']} is not there"
            return
        decision = _decision(row["decision"])
        judged = [one for one in decision.programmes if one.programme == row["programme"]]
        if decision.member_id != row["member_id"] or [one.version for one in judged] != [row["version"]]:
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
            if row["before"] is None or row["before"] > row["judged_at"] + _AT_ONCE:
                yield "no other bill of the member was judged before"
        elif row["outcome"] != computed:
            yield f"it is {row['outcome']}, computed {computed}"
        elif earlier:
            yield f"another bill of the member was judged at {row['before']}"
        if (row["amount_minor"], row["minimum_minor"]) != (amount, minimum):
            yield f"amount and minimum are {row['amount_minor']} and {row['minimum_minor']}, computed {amount} and {minimum}"
