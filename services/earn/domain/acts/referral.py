"""Which bill decides about a referral, and what it decides: pure, from the bill's decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from services.earn.domain.acts.act import Reached
from services.earn.domain.bill import RecordBill
from services.earn.domain.decision import Decision, Judged
from services.earn.domain.judge import Facts
from services.earn.domain.versions import active_at

Key = tuple[UUID, str]
"""The referred member, and the programme."""
Said = Literal["reached", "below", "not_first", "not_declared"]


class First(NamedTuple):
    """What the first bill of a referred member decided. `reached` and `below`: what it came to, against the minimum of the version
    of that time. `not_declared`: that version gave nothing for referrals. `not_first`: other bills of the person had been judged
    before, or it decides what another referral of the person brings, who was enrolled before."""

    key: Key
    outcome: Said
    bill_id: UUID
    occurred_at: datetime
    version: int
    amount_minor: int
    minimum_minor: int | None


class Family(NamedTuple):
    """The wallets that were merged into one: that one, and whether a bill was judged for any of them."""

    heir: UUID
    has_bills: bool


class Referred(NamedTuple):
    """A referral whose minimum was reached."""

    key: Key
    referrer_id: UUID
    reached: Reached


def candidates(bills: Iterable[tuple[UUID, RecordBill, Facts, datetime]]) -> set[UUID]:
    """The wallets that these bills may be the first of, where some version of their programme gives for referrals."""
    giving: dict[int, set[str]] = {}
    found: set[UUID] = set()
    for _, bill, facts, _ in bills:
        codes = giving.get(id(facts.programmes))
        if codes is None:
            codes = giving[id(facts.programmes)] = {
                code
                for code, versions in facts.programmes.items()
                if any(version.referral is not None for _, version in versions)
            }
        if codes and bill.identity is not None:
            member = facts.members[bill.identity.hash]
            found |= {wallet.wallet_id for wallet in member.wallets if wallet.programme in codes}
    return found


def firsts(
    bills: Iterable[tuple[UUID, RecordBill, Facts, datetime]],
    decisions: Mapping[UUID, Decision],
    *,
    undecided: Mapping[UUID, Sequence[Key]],
    families: Mapping[UUID, Family],
) -> list[First]:
    """What these bills decide, in the order in which they were judged. `undecided`: by the wallet that a referred member's goes on
    as, who was enrolled first before the others. `families`: of the wallets that they may be the first of, as of before them: of
    members who are one person by now one bill is the first, and one referral brings something."""
    left = dict(undecided)
    had_bills = {family.heir for family in families.values() if family.has_bills}
    made = []
    for bill_id, bill, facts, _ in bills:
        for judged in decisions[bill_id].programmes:
            family = families.get(judged.wallet_id)
            if family is None:
                continue
            for key in left.pop(family.heir, ()):
                made.append(_first(key, bill_id, bill, judged, facts, family.heir in had_bills))
                had_bills.add(family.heir)
            had_bills.add(family.heir)
    return made


def _first(key: Key, bill_id: UUID, bill: RecordBill, judged: Judged, facts: Facts, late: bool) -> First:
    kind = active_at(facts.programmes[judged.programme], bill.occurred_at).referral
    amount = bill.total_minor if judged.conversion is None else judged.conversion.total_minor
    outcome: Said
    minimum: int | None = None
    if late:
        outcome = "not_first"
    elif kind is None:
        outcome = "not_declared"
    else:
        assert kind.minimum_minor is not None, "a referral has one"
        minimum = kind.minimum_minor
        outcome = "reached" if amount >= minimum else "below"
    return First(key, outcome, bill_id, bill.occurred_at, judged.version, amount, minimum)


class Refunded(NamedTuple):
    """A refund of a bill of `total_minor`, in the bill's own currency."""

    refund_id: UUID
    refunded_minor: int
    occurred_at: datetime
    total_minor: int


def fell_below(amount_minor: int, minimum_minor: int, refunds: Iterable[Refunded]) -> Refunded | None:
    """The first of these refunds, in their order, that left less of the bill than the minimum. `amount_minor` is what the bill
    came to in the programme's currency: of one in another currency, what is left is in proportion."""
    refunded = 0
    for one in refunds:
        refunded += one.refunded_minor
        left = amount_minor * (one.total_minor - refunded)
        if one.total_minor and left < minimum_minor * one.total_minor:
            return one
    return None
