"""What guards count of a bill: whatever the order in which bills come, a burst is seen by the one that comes last."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earn.domain.decision import Seen
from services.earn.domain.guard import Sighting, Surroundings, look, most_within
from shared.programme.guards import Guard, Guards, compile_guards

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ANNA, BEN, CARL = UUID(int=1), UUID(int=2), UUID(int=3)
CASHIER = UUID(int=9)
ALL = compile_guards(
    Guards.model_validate(
        {
            "member_rate": [{"bills": 2, "minutes": 10}],
            "terminal_rate": [{"bills": 3, "minutes": 10}],
            "duplicates": {"minutes": 5},
            "own_card": True,
            "many_cards": {"cards": 2, "minutes": 10},
            "refund_loop": {"refunds": 1, "days": 30},
        }
    )
)


def sold(
    minutes: float, wallet_id: UUID = ANNA, total_minor: int | None = None, terminal: str | None = "T1"
) -> Sighting:
    amount = total_minor if total_minor is not None else 100 + int(minutes * 60)
    at = NOON + timedelta(minutes=minutes)
    return Sighting(uuid4(), wallet_id, "shops", "mall", terminal, "SAR", amount, at)


def flagged(
    *bills: Sighting, around: Surroundings | None = None, cashier: str | None = None
) -> list[set[str]]:
    """The patterns that each of these bills is flagged for, one after the other."""
    known = around or Surroundings()
    found = [look(ALL, one, member_id=one.wallet_id, cashier=cashier, around=known) for one in bills]
    return [{one.pattern for one in seen if one.flagged} for seen in found]


@pytest.mark.parametrize("order", list(permutations((0, 4, 9))))
def test_the_last_to_come_of_a_burst_is_flagged_in_any_order(order: tuple[int, ...]) -> None:
    assert flagged(*map(sold, order)) == [set(), set(), {"member_rate"}]


def test_bills_further_apart_are_no_burst() -> None:
    assert flagged(sold(0), sold(5), sold(10), sold(15), sold(20)) == [set()] * 5


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(1, 15))
def test_the_most_within_is_what_any_stretch_holds(minutes: list[int], length: int) -> None:
    times = [NOON + timedelta(minutes=one) for one in minutes]
    at, others = times[0], times[1:]
    within = timedelta(minutes=length)
    begins = [one for one in times if one <= at < one + within]
    plain = max(sum(begin <= other < begin + within for other in times) for begin in begins)
    assert most_within(others, at, within) == plain


def test_the_same_amount_at_the_same_terminal_soon_again_is_a_duplicate() -> None:
    first, again = sold(0, total_minor=500), sold(4.9, total_minor=500)
    assert flagged(first, again) == [set(), {"duplicate"}]
    assert flagged(again, first) == [set(), {"duplicate"}]
    for other in (
        sold(5, total_minor=500),
        sold(1, total_minor=501),
        sold(1, BEN, total_minor=500),
        sold(1, total_minor=500, terminal="T2"),
    ):
        assert flagged(first, other) == [set(), set()]
    assert flagged(sold(0, total_minor=5, terminal=None), sold(1, total_minor=5, terminal=None)) == [
        set(),
        set(),
    ]


def test_members_and_bills_at_a_terminal_are_counted_for_themselves() -> None:
    assert flagged(sold(0, ANNA), sold(1, BEN), sold(2, CARL)) == [set(), set(), {"many_cards"}]
    assert flagged(sold(0, ANNA), sold(1, BEN), sold(2, ANNA), sold(12, BEN), sold(9, BEN)) == [
        set(), set(), set(), set(), {"terminal_rate"},
    ]  # fmt: skip


def test_a_cashier_who_is_the_member_is_seen_at_once_and_nobody_else() -> None:
    known = Surroundings(cashiers={("mall", "c1"): ANNA})
    assert flagged(sold(0), around=known, cashier="c1") == [{"own_card"}]
    assert flagged(sold(0, BEN), around=Surroundings(cashiers={("mall", "c1"): ANNA}), cashier="c1") == [
        set()
    ]
    assert flagged(sold(0), around=Surroundings(cashiers={("mall", "c1"): ANNA}), cashier="c2") == [set()]


def test_refunds_before_a_bill_are_a_loop_and_later_ones_are_not() -> None:
    def after(*days: float) -> list[set[str]]:
        return flagged(sold(0), around=Surroundings(refunds={ANNA: [NOON - timedelta(days=d) for d in days]}))

    assert after(1, 29.9) == [{"refund_loop"}]
    assert after(1, 30) == [set()]
    assert after(1, -1) == [set()]


def test_what_is_seen_says_how_much_and_what_may_be() -> None:
    [seen] = [
        look(
            (Guard("own_card", 0, timedelta()),), sold(0), member_id=ANNA, cashier=None, around=Surroundings()
        )
    ]
    assert seen == (Seen("own_card", 0, 0),)
    assert not seen[0].flagged
