import babel.numbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.money import (
    CURRENCIES,
    ROUNDINGS,
    Money,
    RoundingMode,
    Worth,
    decimal_ratio,
    exponent,
    money_of,
    points_for,
    round_ratio,
    worth,
)

numerators = st.integers(-(10**18), 10**18)
denominators = st.integers(1, 10**12)
points = st.integers(0, 10**12)
values = st.sampled_from(["0.10", "0.01", "0.005", "1", "0.0333", "12.5", "0.000001"])
currencies = st.sampled_from(["SAR", "KWD", "JPY", "CLF", "USD"])


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("SAR", 2), ("KWD", 3), ("JPY", 0), ("CLF", 4), ("IQD", 3), ("LBP", 2), ("GBP", 2)],
)
def test_the_minor_unit_has_the_digits_of_iso_4217(currency: str, digits: int) -> None:
    assert exponent(currency) == digits


def test_every_listed_currency_is_one_that_unicode_knows() -> None:
    assert set(CURRENCIES) - set(babel.numbers.list_currencies()) == set()


@pytest.mark.parametrize(
    ("text", "ratio"),
    [("1", (1, 1)), ("0.10", (1, 10)), ("1.25", (5, 4)), ("0", (0, 1)), ("007.50", (15, 2))],
)
def test_a_decimal_is_read_exactly(text: str, ratio: tuple[int, int]) -> None:
    assert decimal_ratio(text) == ratio


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1e3", ".5", "5.", "1,5", "NaN", " 1", "٣", "1" * 16, "0." + "1" * 13]
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a decimal has"):
        decimal_ratio(text)


@pytest.mark.parametrize(
    ("mode", "rounded"),
    [
        ("floor", [2, 2, 2, 3, -3]),
        ("ceil", [3, 3, 3, 4, -2]),
        ("half_up", [2, 3, 3, 4, -3]),
        ("half_even", [2, 2, 3, 4, -2]),
    ],
)
def test_each_mode_rounds_as_its_name_says(mode: RoundingMode, rounded: list[int]) -> None:
    # 2.49, 2.5, 2.51, 3.5, -2.5
    fractions = [(249, 100), (5, 2), (251, 100), (7, 2), (-5, 2)]
    assert [round_ratio(mode, *fraction) for fraction in fractions] == rounded


@pytest.mark.parametrize(("cents", "rounded"), [(249, 2), (250, 3)], ids=["A10-.49", "A10-.50"])
def test_nearest_takes_a_half_up(cents: int, rounded: int) -> None:
    assert round_ratio("half_up", cents, 100) == rounded


@given(numerators, denominators)
def test_floor_and_ceil_stand_around_the_exact_value(numerator: int, denominator: int) -> None:
    floor, ceil = round_ratio("floor", numerator, denominator), round_ratio("ceil", numerator, denominator)
    assert floor * denominator <= numerator < (floor + 1) * denominator
    assert (ceil - 1) * denominator < numerator <= ceil * denominator
    assert ceil - floor == (0 if numerator % denominator == 0 else 1)


@given(numerators, denominators, st.sampled_from(["half_up", "half_even"]))
def test_nearest_is_never_more_than_a_half_away(numerator: int, denominator: int, mode: RoundingMode) -> None:
    assert abs(2 * (round_ratio(mode, numerator, denominator) * denominator - numerator)) <= denominator


@given(st.integers(-(10**9), 10**9), denominators, st.sampled_from(list(ROUNDINGS)))
def test_an_integer_stays_itself_in_every_mode(whole: int, denominator: int, mode: RoundingMode) -> None:
    assert round_ratio(mode, whole * denominator, denominator) == whole


def test_points_carry_their_money() -> None:
    assert worth(1250, "0.10", "SAR") == Worth(1250, Money(12500, "SAR"))  # A23


@pytest.mark.parametrize(
    ("points", "value", "currency", "minor"),
    [
        pytest.param(1250, "0.10", "SAR", 12500, id="A23"),
        pytest.param(60, "0.01", "USD", 60, id="A22"),
        pytest.param(500, "0.01", "USD", 500, id="A21"),
        pytest.param(77, "0.05", "USD", 385, id="A19"),
        pytest.param(100, "0.05", "USD", 500, id="B7-hundred"),
        pytest.param(1000, "0.005", "KWD", 5000, id="three digits"),
        pytest.param(3, "0.5", "JPY", 1, id="no digits, the half is dropped"),
        pytest.param(-3, "0.5", "JPY", -1, id="towards zero"),
        pytest.param(0, "0.10", "SAR", 0, id="nothing"),
    ],
)
def test_points_are_worth_whole_minor_units(points: int, value: str, currency: str, minor: int) -> None:
    assert money_of(points, value, currency) == minor


@pytest.mark.parametrize(
    ("minor", "value", "currency", "points"),
    [
        pytest.param(3000, "0.10", "SAR", 300, id="exact"),
        pytest.param(3001, "0.10", "SAR", 301, id="rounded up"),
        pytest.param(500, "0.01", "USD", 500, id="A21"),
        pytest.param(1, "2.5", "JPY", 1, id="a point is worth more than asked"),
        pytest.param(0, "0.10", "SAR", 0, id="nothing"),
    ],
)
def test_a_price_in_points_rounds_up(minor: int, value: str, currency: str, points: int) -> None:
    assert points_for(minor, value, currency) == points


@given(st.integers(0, 10**12), values, currencies)
def test_the_price_is_the_least_number_of_points_that_is_worth_it(
    minor: int, value: str, currency: str
) -> None:
    price = points_for(minor, value, currency)
    assert money_of(price, value, currency) >= minor
    assert price == 0 or money_of(price - 1, value, currency) < minor


@given(points, points, values, currencies)
def test_money_of_a_whole_is_at_most_a_unit_above_its_parts(
    one: int, other: int, value: str, currency: str
) -> None:
    parts = money_of(one, value, currency) + money_of(other, value, currency)
    assert parts <= money_of(one + other, value, currency) <= parts + 1
