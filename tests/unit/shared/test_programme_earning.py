"""Bills and their worth, with the published vectors by their ids (A1, A6, ...)."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.money import Money, RoundingMode, Worth
from shared.programme.compiled import CompiledProgramme, Earned, compile_programme
from tests.support.programmes import SHOPS, document, earning, ladder, rule


@dataclass(frozen=True)
class Line:
    amount_minor: int
    categories: tuple[str, ...] = ()
    discount_minor: int = 0
    tax_minor: int = 0
    sku: str | None = None
    quantity: str | None = None


def programme(*rules: Any, multipliers: tuple[str, ...] = ("1",), **rounding: Any) -> CompiledProgramme:
    return compile_programme(document(earning=earning(*rules, **rounding), tiers=ladder(*multipliers)), 1)


def earn(compiled: CompiledProgramme, *amounts: int, tier: str | None = None) -> Earned:
    return compiled.earn([Line(amount) for amount in amounts], sum(amounts), tier)


def test_the_contracts_bill_earns_108_points_in_gold() -> None:
    compiled = compile_programme(SHOPS, 1)
    result = compiled.earn([Line(9000, ("coffee",), 1000), Line(1500, ("service-fee",))], 10500, "gold")
    assert (result.points, result.available, result.held) == (108, 108, 0)
    assert (result.multiplier, compiled.denominator) == ((6, 5), 100)
    assert result.tried == ("service-fees", "everything")
    assert result.lines == (("everything", "earned", 9000, None), ("service-fees", "skipped", 1500, None))
    assert result.rules == (("everything", "now", 9000, 9000, 9000),)
    assert compiled.worth(108) == Worth(108, Money(1080, "SAR"))


@pytest.mark.parametrize(
    ("compiled", "amount", "points"),
    [
        pytest.param(programme(rule(points="1", per_minor=1000)), 10500, 10, id="A1"),
        pytest.param(programme(rule()), 1200, 12, id="A2"),
        pytest.param(programme(rule(), mode="ceil"), 238, 3, id="A6-ceil-2.38"),
        pytest.param(programme(rule(), mode="ceil"), 576, 6, id="A6-ceil-5.76"),
        pytest.param(programme(rule(), mode="floor"), 238, 2, id="A6-floor-2.38"),
        pytest.param(programme(rule(), mode="floor"), 576, 5, id="A6-floor-5.76"),
        pytest.param(programme(rule(), mode="half_up"), 238, 2, id="A6-round-2.38"),
        pytest.param(programme(rule(), mode="half_up"), 576, 6, id="A6-round-5.76"),
        pytest.param(programme(rule(), mode="half_up"), 19110, 191, id="A9-191.10"),
        pytest.param(programme(rule(), mode="half_up"), 6770, 68, id="A9-67.70"),
        pytest.param(programme(rule(), mode="half_up"), 149, 1, id="A10-.49"),
        pytest.param(programme(rule(), mode="half_up"), 150, 2, id="A10-.50"),
        pytest.param(
            programme(rule(points="10", per_minor=2000, whole_steps=True)), 3999, 10, id="A15-10 per $20"
        ),
        pytest.param(
            programme(rule(points="5", per_minor=1000, whole_steps=True)), 1500, 5, id="contract-steps"
        ),
        pytest.param(programme(rule(points="5", per_minor=1000)), 1500, 7, id="contract-no-steps"),
    ],
)
def test_an_amount_earns_what_was_published(compiled: CompiledProgramme, amount: int, points: int) -> None:
    assert earn(compiled, amount).points == points


@pytest.mark.parametrize(("amount", "points"), [(238, 3), (576, 9)], ids=["A7-2.38", "A7-5.76"])
def test_rounding_may_come_before_the_multiplier(amount: int, points: int) -> None:
    compiled = programme(rule(), multipliers=("1.5",), mode="half_up", when="before_multiplier")
    assert earn(compiled, amount).points == points


def test_what_the_multiplier_leaves_over_is_rounded_in_the_same_mode() -> None:
    for mode, points in (("floor", 4), ("ceil", 5), ("half_up", 5), ("half_even", 4)):
        compiled = programme(rule(), multipliers=("1.5",), mode=mode, when="before_multiplier")
        assert earn(compiled, 300).points == points  # 3 x 1.5 = 4.5


def test_each_line_may_be_rounded_before_the_sum_a11() -> None:
    # A11 rounds to two decimals; a hundredth of a point is our point here. Lines of 20.158.
    at_line = programme(rule(per_minor=10), at="line", mode="half_up")
    result = earn(at_line, 20158, 20158)
    assert result.points == 4032
    assert [points for _, _, _, points in result.lines] == [2016, 2016]


def test_rounding_by_line_and_by_bill_differ() -> None:
    assert earn(programme(rule(), at="line"), 150, 150).points == 2
    assert earn(programme(rule(), at="bill"), 150, 150).points == 3


@pytest.mark.parametrize(
    ("base", "per_dollar"), [("10", [10, 12, 18, 20]), ("5", [5, 6, 9, 10])], ids=["A17", "A17-Tru-Home2"]
)
def test_tiers_multiply(base: str, per_dollar: list[int]) -> None:
    compiled = programme(rule(points=base), multipliers=("1", "1.2", "1.8", "2"))
    assert [earn(compiled, 100, tier=f"t{place}").points for place in range(4)] == per_dollar


def test_a_gold_order_earns_60_points_a22() -> None:
    compiled = programme(rule(points="5", per_minor=1000, whole_steps=True), multipliers=("1", "1.2"))
    assert earn(compiled, 10000, tier="t0").points == 50
    assert earn(compiled, 10000, tier="t1").points == 60


def test_whole_steps_count_over_the_rules_lines_by_bill_and_in_each_line_by_line() -> None:
    steps = rule(points="5", per_minor=1000, whole_steps=True)
    by_bill, by_line = programme(steps, at="bill"), programme(steps, at="line")
    assert earn(by_bill, 1500, 1500).points == 15
    assert [units for _, _, _, units, _ in earn(by_bill, 1500, 1600).rules] == [3000]
    assert earn(by_line, 1500, 1500).points == 10
    assert [points for _, _, _, points in earn(by_line, 1500, 1500).lines] == [5, 5]


def test_whole_steps_of_different_rules_do_not_mix() -> None:
    compiled = programme(
        rule("coffee", "10", 10000, category="coffee", whole_steps=True),
        rule("rest", "10", 10000, whole_steps=True),
    )
    lines = [Line(19900, ("coffee",)), Line(19900)]
    assert compiled.earn(lines, 39800, None).points == 20


def test_the_highest_priority_that_matches_decides_and_ties_go_by_the_documents_order() -> None:
    compiled = programme(
        rule("low", "1", priority=-1),
        rule("a", "2", category="x", priority=5),
        rule("b", "3", category="y", priority=5),
        rule("top", "4", category="z", priority=9),
    )
    matched = [
        compiled.earn([Line(100, categories)], 100, None).lines[0][0]
        for categories in [(), ("x",), ("y", "x"), ("y",), ("x", "z"), ("unheard",)]
    ]
    assert matched == ["low", "a", "a", "b", "top", "low"]
    assert compiled.earn([Line(100, ("y",))], 100, None).tried == ("top", "a", "b")


def test_a_line_that_no_rule_is_for_earns_nothing_and_says_what_was_tried() -> None:
    compiled = programme(rule("a", category="x"), rule("b", category="y"))
    result = compiled.earn([Line(10000, ("z",)), Line(100, ("x",))], 10100, None)
    assert (result.lines[0], result.tried) == ((None, "unmatched", 10000, None), ("a", "b"))
    assert result.points == 1


def test_a_rule_may_pass_over_discounted_lines() -> None:
    compiled = programme(rule("full", on_discounted=False), rule("other", priority=-1))
    result = compiled.earn([Line(1000, (), 1), Line(700)], 1700, None)
    assert [line[:2] for line in result.lines] == [("full", "discounted"), ("full", "earned")]
    assert result.points == 7


def test_a_bill_without_lines_counts_as_one_line_without_category() -> None:
    assert compile_programme(SHOPS, 1).earn([], 1234, "blue").points == 12
    only_coffee = programme(rule("a", category="coffee"))
    result = only_coffee.earn([], 1234, None)
    assert (result.points, [line[1] for line in result.lines]) == (0, ["unmatched"])
    assert compile_programme(SHOPS, 1).earn([], 0, None).points == 0


def test_an_unknown_tier_earns_like_the_first() -> None:
    compiled = programme(rule(), multipliers=("2", "3"))
    assert [earn(compiled, 100, tier=tier).points for tier in (None, "t0", "t1", "gone")] == [2, 2, 3, 2]
    assert compile_programme(document(tiers=None), 1).earn([Line(100)], 100, "any").points == 1


def test_what_a_rule_holds_is_held_and_both_parts_are_the_whole() -> None:
    compiled = programme(rule("phones", "1", category="phone", timing="hold"), rule("rest", "1"))
    result = compiled.earn([Line(150, ("phone",)), Line(150)], 300, None)
    assert (result.points, result.available, result.held) == (3, 1, 2)
    assert [rule[:2] for rule in result.rules] == [("phones", "hold"), ("rest", "now")]
    by_line = programme(rule("phones", "1", category="phone", timing="hold"), rule("rest", "1"), at="line")
    result = by_line.earn([Line(150, ("phone",)), Line(150)], 300, None)
    assert (result.points, result.available, result.held) == (2, 1, 1)


def test_rates_of_different_denominators_add_up_exactly() -> None:
    compiled = programme(rule("third", "1", 300, category="a"), rule("seventh", "0.5", 350))
    # 100/300 + 0.5 x 700/350 = 1 1/3, and 200/300 more makes exactly 2
    assert compiled.earn([Line(100, ("a",)), Line(700)], 800, None).points == 1
    assert compiled.earn([Line(300, ("a",)), Line(700)], 1000, None).points == 2


amounts = st.lists(st.integers(0, 10**12), min_size=1, max_size=5)
rates = st.tuples(st.sampled_from(["1", "0.5", "2.25", "10", "0.001"]), st.integers(1, 100_000))
multipliers = st.sampled_from(["1", "1.1", "1.25", "2", "0.333"])
modes = st.sampled_from(["floor", "ceil", "half_up", "half_even"])


def exact(rate: tuple[str, int], amount: int, multiplier: str) -> Fraction:
    return Fraction(rate[0]) * amount / rate[1] * Fraction(multiplier)


@given(amounts, rates, multipliers)
def test_by_bill_floor_is_the_floor_of_the_exact_sum(
    bill: list[int], rate: tuple[str, int], times: str
) -> None:
    points = earn(programme(rule(points=rate[0], per_minor=rate[1]), multipliers=(times,)), *bill).points
    assert points <= exact(rate, sum(bill), times) < points + 1


@given(amounts, rates, multipliers, modes)
def test_no_rounding_by_bill_is_a_whole_point_off(
    bill: list[int], rate: tuple[str, int], times: str, mode: RoundingMode
) -> None:
    points = earn(
        programme(rule(points=rate[0], per_minor=rate[1]), multipliers=(times,), mode=mode), *bill
    ).points
    assert abs(points - exact(rate, sum(bill), times)) < 1


@given(amounts, rates, multipliers)
def test_by_line_the_bill_is_the_sum_of_its_lines(bill: list[int], rate: tuple[str, int], times: str) -> None:
    compiled = programme(rule(points=rate[0], per_minor=rate[1]), multipliers=(times,), at="line")
    result = earn(compiled, *bill)
    assert result.points == sum(points or 0 for _, _, _, points in result.lines)
    assert [points for _, _, _, points in result.lines] == [earn(compiled, amount).points for amount in bill]


@given(amounts, st.data(), modes)
def test_the_order_of_lines_does_not_matter(bill: list[int], data: st.DataObject, mode: RoundingMode) -> None:
    compiled = programme(rule(points="1.1", per_minor=330), multipliers=("1.1",), mode=mode)
    assert earn(compiled, *data.draw(st.permutations(bill))).points == earn(compiled, *bill).points


@given(amounts, modes, st.sampled_from(["line", "bill"]))
def test_paying_more_never_earns_less(bill: list[int], mode: RoundingMode, at: str) -> None:
    compiled = programme(
        rule(points="3", per_minor=700, whole_steps=True), multipliers=("1.1",), mode=mode, at=at
    )
    assert earn(compiled, *bill, 699).points >= earn(compiled, *bill).points


@given(st.lists(st.tuples(st.integers(0, 10**9), st.booleans()), min_size=1, max_size=5), modes)
def test_available_and_held_are_never_negative_and_make_the_whole(
    bill: list[tuple[int, bool]], mode: RoundingMode
) -> None:
    compiled = programme(rule("h", "1.7", 130, category="h", timing="hold"), rule("n", "1.3", 170), mode=mode)
    result = compiled.earn([Line(amount, ("h",) if held else ()) for amount, held in bill], 0, None)
    assert result.available >= 0
    assert result.held >= 0
    assert result.available + result.held == result.points
