"""When refunds leave less of a referral's bill than the minimum."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.earn.domain.acts.referral import Refunded, fell_below
from shared.ids import uuid7

AT = datetime(2026, 11, 22, tzinfo=UTC)


def refunds(total: int, *parts: int) -> list[Refunded]:
    return [Refunded(uuid7(), part, AT, total) for part in parts]


def test_the_refund_that_goes_below_the_minimum_is_named() -> None:
    made = refunds(10_500, 300, 200, 1, 9_999)
    assert fell_below(10_500, 10_000, made) == made[2]
    assert fell_below(10_500, 10_000, made[:2]) is None


def test_of_another_currency_what_is_left_is_in_proportion() -> None:
    made = refunds(2_000, 1_000, 1)  # 20.00 that came to 81.00
    assert fell_below(8_100, 4_050, made[:1]) is None
    assert fell_below(8_100, 4_050, made) == made[1]


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.lists(st.integers(1, 10**6), max_size=5))
def test_the_whole_falls_below_every_minimum_but_nothing(total: int, minimum: int, parts: list[int]) -> None:
    total = max(total, sum(parts))
    made = refunds(total, *parts, total - sum(parts))
    fell = fell_below(total, min(minimum, total), made)
    assert (fell is None) == (minimum == 0 or total == 0)
