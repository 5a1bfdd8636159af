"""Limits as numbers: the most that each leaves, on published examples by their ids, and never by a point too much."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.limits import (
    BillShareExceeded,
    Facts,
    Spent,
    check_limits,
    largest,
    limits,
    moments,
)
from services.redeem.domain.quoting import Quote, quote
from services.redeem.domain.spending import price
from shared.errors import AmountOutOfRange
from shared.money import Money, money_of
from shared.programme.days import period_start
from shared.programme.redeeming import Redeeming

NOW = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)  # a Sunday; 01:30 on Monday the 2nd in Riyadh
RIYADH = ZoneInfo("Asia/Riyadh")


class Tier(msgspec.Struct, frozen=True):
    code: str


class Terms(msgspec.Struct, frozen=True):
    redeeming: Redeeming = Redeeming()
    point_value: str = "0.01"
    minimum_points: int = 1
    step_points: int = 1
    code: str = "shops"
    currency: str = "SAR"
    consumption: str = "oldest_earned"
    zone: ZoneInfo = RIYADH
    ladder: tuple[Tier, ...] = (Tier("blue"), Tier("gold"))

    @property
    def minor_per_point(self) -> tuple[int, int]:
        return (Fraction(self.point_value) * 100).as_integer_ratio()


def asked(
    terms: Terms, balance: int, points: int | None, bill: int | None, facts: Facts | None = None
) -> Quote:
    wallet = Wallet(uuid4(), "shops", uuid4(), NOW, available=balance, issued=-balance)
    if balance:
        wallet.lots.append(Lot(uuid4(), wallet.wallet_id, uuid4(), None, NOW, None, balance, balance))
    refused = None
    if points is not None:
        try:
            points = price(terms, points=points)
        except AmountOutOfRange as refusal:
            points, refused = None, refusal
    return quote(
        wallet, terms, facts or Facts(), points=points, money=None, refused=refused, bill_total_minor=bill, now=NOW,
        new_id=uuid4,
    )  # fmt: skip


def test_vectors_b1_b2_and_b5_the_bill_the_balance_and_the_minimum_bind() -> None:
    half = Terms(Redeeming(bill_share=(1, 2)), minimum_points=500)
    b1 = asked(half, 5_000, 1_000, 10_000)
    assert (b1.refusal, sum(lot.points for lot in b1.takes), b1.most) == (None, 1_000, 5_000)
    b2 = asked(half, 700, 1_000, 10_000)
    assert (type(b2.refusal).__name__, b2.takes, b2.most) == ("InsufficientPoints", [], 700)
    b5 = asked(half, 5_000, 400, 100_000)
    assert (type(b5.refusal).__name__, b5.takes) == ("AmountOutOfRange", [])


def test_vector_b7_so_many_points_are_worth_so_much() -> None:
    assert money_of(1_000, "0.05", "SAR") == 5_000


@pytest.mark.parametrize(
    ("balance", "bill", "most", "binding"),
    [
        (200, 100_000, 200, ["InsufficientPoints"]),
        (5_000, 2_000, 2_000, ["BillShareExceeded"]),
        (0, 2_000, 0, ["InsufficientPoints"]),
    ],
)
def test_vector_b14_the_balance_or_the_amount_limits(
    balance: int, bill: int, most: int, binding: list[str]
) -> None:
    found = asked(Terms(), balance, None, bill)
    assert (found.most, [limit.refusal.__name__ for limit, bound in found.limits if bound]) == (most, binding)


@given(
    value=st.sampled_from(["0.01", "0.10", "0.003", "1.5", "7", "0.0001"]),
    share=st.integers(1, 100),
    bill=st.integers(0, 10**9),
)
def test_the_most_of_a_share_is_worth_no_more_than_it_and_one_point_more_is(
    value: str, share: int, bill: int
) -> None:
    terms = Terms(Redeeming(bill_share=(share, 100)), point_value=value)
    [limit] = limits(terms, Facts(), bill_total_minor=bill, now=NOW)
    cap = bill * share // 100
    assert (limit.most_minor, limit.refusal) == (cap, BillShareExceeded)
    assert money_of(limit.most, value, "SAR") <= cap < money_of(limit.most + 1, value, "SAR")


@given(least=st.integers(1, 50), step=st.integers(1, 50), most=st.integers(0, 500))
def test_the_largest_that_can_be_asked_for_has_a_price_and_nothing_above_it_has(
    least: int, step: int, most: int
) -> None:
    terms = Terms(minimum_points=least, step_points=step)
    found = largest(terms, most)
    possible = [points for points in range(most + 1) if points >= least and points % step == 0]
    assert found == max(possible, default=0)
    assert not found or price(terms, points=found) == found


@pytest.mark.parametrize(
    ("per", "start"),
    [
        ("day", datetime(2026, 3, 1, 21, tzinfo=UTC)),
        ("week", datetime(2026, 3, 1, 21, tzinfo=UTC)),
        ("month", datetime(2026, 2, 28, 21, tzinfo=UTC)),
    ],
)
def test_periods_begin_where_the_programme_lives(per: Any, start: datetime) -> None:
    assert period_start(per, NOW, RIYADH) == start
    assert period_start(per, start, RIYADH) == start
    assert period_start(per, start - timedelta(microseconds=1), RIYADH) < start


def test_each_limit_counts_what_was_spent_since_its_own_moment() -> None:
    rules = Redeeming(
        member_limits=(("day", 100), ("month", 300)),
        velocity=((timedelta(minutes=10), 2),),
        tiers=frozenset({"gold"}),
    )
    terms = Terms(rules)
    since = moments(terms, NOW)
    assert [NOW - moment for moment in since[:2]] == [timedelta(hours=1.5), timedelta(days=1, hours=1.5)]
    assert since[2] > NOW - timedelta(minutes=10)
    facts = Facts([Spent(60, 1), Spent(290, 9), Spent(60, 1)], tier="gold")

    def most() -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for limit in limits(terms, facts, bill_total_minor=None, now=NOW):
            found.setdefault(limit.refusal.code, []).append(min(limit.most, 1_000))
        return found

    assert most() == {
        "tier_not_eligible": [1_000],
        "velocity_exceeded": [1_000],
        "period_limit_exceeded": [40, 10],
    }
    facts.count(10)
    facts.until = NOW
    assert most() == {"tier_not_eligible": [0], "velocity_exceeded": [0], "period_limit_exceeded": [30, 0]}


def test_money_is_held_against_the_share_as_money() -> None:
    terms = Terms(Redeeming(bill_share=(1, 2)), point_value="0.10")
    cap = Money(1_007, "SAR")
    points = price(terms, money=cap)
    found = list(limits(terms, Facts(), bill_total_minor=2_015, now=NOW))
    check_limits(iter(found), points=points, money_minor=1_007, pointer="/money/amount_minor")
    with pytest.raises(BillShareExceeded) as refusal:
        check_limits(iter(found), points=points, money_minor=1_008, pointer="/money/amount_minor")
    assert refusal.value.errors[0].pointer == "/money/amount_minor"
