"""A tally says which accruals there were, in whatever order they were counted."""

import hashlib
from datetime import UTC, date, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.ids import uuid7
from shared.tally import NOTHING, Tally, day_of, heard, hours_of, tally_of, told

ACCRUALS = st.lists(st.tuples(st.uuids(), st.integers(1, 10**12)), max_size=20)


def counted(accruals: list[tuple[UUID, int]]) -> Tally:
    """As a query counts: four words of 32 bits, each summed by itself."""
    words = [0, 0, 0, 0]
    for accrual_id, points in accruals:
        digest = hashlib.sha256(accrual_id.bytes + points.to_bytes(8, "big")).digest()
        for k in range(4):
            words[k] += int.from_bytes(digest[4 * k : 4 * k + 4], "big")
    return tally_of(len(accruals), sum(points for _, points in accruals), words)


@given(ACCRUALS, ACCRUALS)
def test_two_parts_come_to_the_whole_in_either_order(
    some: list[tuple[UUID, int]], more: list[tuple[UUID, int]]
) -> None:
    assert counted(some) + counted(more) == counted(more + some)


@given(ACCRUALS.filter(bool))
def test_the_digest_is_the_sum_of_what_the_documentation_says(accruals: list[tuple[UUID, int]]) -> None:
    of_each = [
        hashlib.sha256(one.bytes + points.to_bytes(8, "big")).digest()[:16] for one, points in accruals
    ]
    assert counted(accruals).digest == sum(int.from_bytes(one, "big") for one in of_each) % 2**128


@given(ACCRUALS.filter(bool))
def test_another_accrual_of_as_many_points_is_another_tally(accruals: list[tuple[UUID, int]]) -> None:
    (_, points), *rest = accruals
    assert counted([(uuid7(), points), *rest]) != counted(accruals)


def test_what_is_told_is_what_is_heard() -> None:
    tallies = {"shops": Tally(2, 30, 2**127 + 5), "air": NOTHING}
    assert heard(told(tallies)) == tallies
    assert [one.programme for one in told(tallies)] == ["air", "shops"]


def test_each_id_is_within_one_hour_of_its_day() -> None:
    made = uuid7()
    assert [first <= made < below for first, below in hours_of(day_of(made))].count(True) == 1
    last = UUID(
        int=(int(datetime(2026, 2, 28, 23, 59, 59, 999000, UTC).timestamp() * 1000) << 80) + 2**80 - 1
    )
    assert day_of(last) == date(2026, 2, 28)
    hours = list(hours_of(date(2026, 2, 28)))
    assert len(hours) == 24
    assert hours[-1][0] < last < hours[-1][1] == next(hours_of(date(2026, 3, 1)))[0]
