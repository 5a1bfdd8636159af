"""The second writing of what a bill is worth, by value, and against the first."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointbank.verify.programme.numbers import minor_per_point, money_of, rounded
from pointbank.verify.programme.terms import Line, Terms, read_terms
from shared.money import CURRENCIES
from shared.money import minor_per_point as first_minor_per_point
from shared.programme.compiled import compile_programme
from tests.support.programmes import document, earning, ladder, rule

AT = datetime(2026, 1, 1, tzinfo=UTC)


def terms(**sections: Any) -> Terms:
    return read_terms(1, AT, document(**sections))


@pytest.mark.parametrize(
    ("mode", "results"),
    [
        ("floor", (0, 0, 0, 1, 1, 2)),
        ("ceil", (0, 1, 1, 1, 2, 3)),
        ("half_up", (0, 0, 1, 1, 2, 3)),
        ("half_even", (0, 0, 0, 1, 2, 2)),
    ],
)
def test_each_mode_rounds_as_it_says(mode: str, results: tuple[int, ...]) -> None:
    assert tuple(rounded(mode, quarters, 4) for quarters in (0, 1, 2, 4, 6, 10)) == results


@pytest.mark.parametrize("currency", sorted(CURRENCIES))
def test_a_point_is_worth_the_same_in_both_writings(currency: str) -> None:
    assert minor_per_point("0.005", currency) == Fraction(*first_minor_per_point("0.005", currency))


def test_a_part_of_a_minor_unit_is_dropped() -> None:
    assert money_of(3, minor_per_point("0.005", "USD")) == 1


def test_the_bill_of_the_contract_earns_108() -> None:
    worth = terms().worth([Line(("coffee",), 9000, 1000), Line(("service-fee",), 1500, 0)], 10500, "gold")
    assert worth[:3] == (108, 108, 0)
    assert worth.tried == ("service-fees", "everything")
    assert worth.lines == (("everything", "earned", 9000, None), ("service-fees", "skipped", 1500, None))
    assert worth.by_rule == (("everything", "now", 9000, 9000, 9000),)
    assert worth.unit == 100


def test_a_bill_without_lines_counts_as_one() -> None:
    assert terms().worth([], 10550, None)[:3] == (105, 105, 0)


def test_whole_steps_count_by_the_bill_or_by_the_line() -> None:
    by = {
        at: terms(earning=earning(rule(points="5", per_minor=1000, whole_steps=True), at=at))
        for at in ("bill", "line")
    }
    lines = [Line((), 1500, 0), Line((), 1500, 0)]
    assert by["bill"].worth(lines, 3000, None).points == 15
    assert by["line"].worth(lines, 3000, None).points == 10


def test_what_is_held_and_what_is_not_add_up_to_the_whole() -> None:
    held = rule("later", "1", 100, category="phones", timing="hold", priority=1)
    both = terms(earning=earning(held, rule(), mode="half_up"))
    worth = both.worth([Line(("phones",), 150, 0), Line((), 150, 0)], 300, None)
    assert worth[:3] == (3, 2, 1)


codes = st.sampled_from(["a", "b", "c"])
a_rule = st.builds(
    lambda category, points, per_minor, more: {
        "category": category,
        "points": points,
        "per_minor": per_minor,
        **more,
    },
    st.none() | codes,
    st.sampled_from(["1", "0.5", "3", "2.75"]),
    st.sampled_from([1, 7, 100, 1000]),
    st.fixed_dictionaries(
        {
            "whole_steps": st.booleans(),
            "timing": st.sampled_from(["now", "hold"]),
            "on_discounted": st.booleans(),
            "priority": st.integers(-2, 2),
        }
    ),
)
a_line = st.builds(
    Line,
    st.lists(codes, max_size=2).map(tuple),
    st.integers(0, 100_000),
    st.sampled_from([0, 0, 500]),
)


@given(
    rules=st.lists(a_rule, min_size=1, max_size=4),
    lines=st.lists(a_line, max_size=5),
    mode=st.sampled_from(["floor", "ceil", "half_up", "half_even"]),
    at=st.sampled_from(["bill", "line"]),
    when=st.sampled_from(["before_multiplier", "after_multiplier"]),
    tier=st.sampled_from([None, "t0", "t1", "unknown"]),
)
def test_both_writings_come_to_the_same(
    rules: list[dict[str, Any]], lines: list[Line], mode: str, at: str, when: str, tier: str | None
) -> None:
    made = [rule(f"r{place}", **one) for place, one in enumerate(rules)]
    written = document(earning=earning(*made, mode=mode, at=at, when=when), tiers=ladder("1", "1.15"))
    total = sum(line.amount_minor for line in lines) if lines else 12_345
    ours = read_terms(1, AT, written).worth(lines, total, tier)
    compiled = compile_programme(written, 1)
    theirs = compiled.earn(lines, total, tier)
    assert ours[:3] == (theirs.points, theirs.available, theirs.held)
    assert (ours.lines, ours.tried) == (theirs.lines, theirs.tried)
    assert [(*one[:4], Fraction(one[4], ours.unit)) for one in ours.by_rule] == [
        (*one[:4], Fraction(one[4], compiled.denominator)) for one in theirs.rules
    ]


@pytest.mark.parametrize(
    ("months", "round_to", "zone", "earned_at", "expires_at"),
    [
        (12, "month_end", "Asia/Riyadh", "2026-11-22T08:31:04+00:00", "2027-11-30T21:00:00+00:00"),
        (12, "day", "Asia/Riyadh", "2026-11-22T08:31:04+00:00", "2027-11-22T21:00:00+00:00"),
        (1, "day", "Europe/London", "2027-01-31T12:00:00+00:00", "2027-03-01T00:00:00+00:00"),
        (
            6,
            "day",
            "America/Havana",
            "2026-09-13T12:00:00+00:00",
            "2027-03-14T05:00:00+00:00",
        ),  # midnight is skipped
    ],
)
def test_points_expire_after_their_last_usable_day(
    months: int, round_to: str, zone: str, earned_at: str, expires_at: str
) -> None:
    made = document(expiry={"policy": "months_after_earning", "months": months, "round_to": round_to})
    made["programme"]["time_zone"] = zone
    one = read_terms(1, AT, made)
    earned, expires = datetime.fromisoformat(earned_at), datetime.fromisoformat(expires_at)
    assert compile_programme(made, 1).expires_at(earned) == expires
    assert one.expires_rightly(earned, expires)
    for wrong in (expires - timedelta(microseconds=1), expires + timedelta(days=1), None):
        assert not one.expires_rightly(earned, wrong)


@given(
    earned=st.integers(946_684_800, 2_840_140_800).map(lambda one: datetime.fromtimestamp(one, UTC)),
    day=st.dates(date(2024, 1, 1), date(2024, 12, 31)).map(lambda one: f"{one:%m-%d}"),
    months=st.integers(0, 40),
    zone=st.sampled_from(["Asia/Riyadh", "America/Havana", "Pacific/Apia"]),
)
def test_a_fixed_date_is_the_same_in_both_writings(
    earned: datetime, day: str, months: int, zone: str
) -> None:
    made = document(expiry={"policy": "fixed_date", "date": day, "months": months})
    made["programme"]["time_zone"] = zone
    expires = compile_programme(made, 1).expires_at(earned)
    assert expires is not None
    one = read_terms(1, AT, made)
    assert one.expires_rightly(earned, expires)
    assert not one.expires_rightly(earned, expires + timedelta(days=1))


@given(
    earned=st.integers(946_684_800, 2_840_140_800).map(lambda one: datetime.fromtimestamp(one, UTC)),
    years=st.integers(0, 4),
    birth_month=st.none() | st.integers(1, 12),
    zone=st.sampled_from(["Asia/Riyadh", "America/Havana", "Pacific/Apia"]),
)
def test_the_end_of_a_birth_month_is_the_same_in_both_writings(
    earned: datetime, years: int, birth_month: int | None, zone: str
) -> None:
    made = document(expiry={"policy": "birth_month_end", "years": years})
    made["programme"]["time_zone"] = zone
    expires = compile_programme(made, 1).expires_at(earned, birth_month)
    assert expires is not None
    one = read_terms(1, AT, made)
    assert one.expires_rightly(earned, expires, birth_month)
    assert not one.expires_rightly(earned, expires + timedelta(days=1), birth_month)
    another = 6 if birth_month in {None, 12} else birth_month + 1
    assert not one.expires_rightly(earned, expires, another)


def test_points_that_never_expire_have_no_expiry() -> None:
    never = terms(expiry={"policy": "never"})
    assert never.expires_rightly(AT, None)
    assert not never.expires_rightly(AT, AT)


def test_a_tier_is_reached_by_its_numbers_and_lasts_to_the_end_of_the_next_year() -> None:
    one = terms()
    assert [one.rank_reached({"points": points}) for points in (0, 499, 500, 1000)] == [0, 0, 1, 2]
    assert one.status_until(0, 2026) is None
    assert one.status_until(2, 2026) == datetime(2027, 12, 31, 21, tzinfo=UTC)
