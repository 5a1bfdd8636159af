"""A bill in another currency: whole minor units that add up, whatever the lines and the rate."""

from datetime import UTC, datetime
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from pointbank.verify.programme.conversion import Conversion, converted
from pointbank.verify.programme.terms import Line as Counted
from services.earn.domain.bill import Line, RecordBill, recorded_bill
from services.earn.domain.conversion import Rate, convert, factor
from services.earn.domain.limits import MAX_MINOR

AT = datetime(2026, 11, 1, tzinfo=UTC)
CURRENCIES = st.sampled_from(["EUR", "SAR", "JPY", "KWD", "CLF"])
RATES = st.builds(
    lambda whole, part, digits: f"{whole}.{part:0{digits}d}"[: 17 + digits],
    st.integers(0, 9999),
    st.integers(1, 999),
    st.integers(3, 8),
)
LINES = st.lists(
    st.builds(
        lambda amount, discount, tax: (amount, discount, tax),
        st.integers(0, 10**7),
        st.integers(0, 10**5),
        st.integers(0, 10**5),
    ),
    max_size=12,
)


def made(currency: str, lines: list[tuple[int, int, int]], total: int, paid: int) -> RecordBill:
    rows = tuple(
        Line(line_id=str(k), amount_minor=amount, discount_minor=discount, tax_minor=tax)
        for k, (amount, discount, tax) in enumerate(lines)
    )
    tenders = (("card", total - paid), ("points", paid)) if 0 < paid < total else ()
    return recorded_bill(
        "m", "r", None, None, None, AT, None, currency, total, None, b"[]", lines=rows, tenders=tenders
    )


@given(
    currency=CURRENCIES,
    into=CURRENCIES,
    rate=RATES,
    lines=LINES,
    alone=st.integers(0, 10**9),
    paid=st.integers(0, 10**6),
)
def test_what_is_converted_adds_up_and_is_off_by_less_than_a_minor_unit(
    currency: str, into: str, rate: str, lines: list[tuple[int, int, int]], alone: int, paid: int
) -> None:
    total = sum(amount for amount, _, _ in lines) if lines else alone
    bill = made(currency, lines, total, paid)
    found = convert(bill, Rate(1, rate, AT, "bank"), into)
    exactly = Fraction(*factor(rate, currency, into))
    if found is None:
        assert total * exactly > MAX_MINOR
        return
    assert abs(found.total_minor - total * exactly) <= Fraction(1, 2)
    if lines:
        assert sum(line.amount_minor for line in found.lines) == found.total_minor
    if found.tenders:
        assert sum(amount for _, amount in found.tenders) == found.total_minor
    for own, line in zip(bill.lines, found.lines, strict=True):
        assert abs(line.amount_minor - own.amount_minor * exactly) < 1
        assert (line.discount_minor > 0, line.tax_minor > 0) == (own.discount_minor > 0, own.tax_minor > 0)


@given(
    currency=CURRENCIES,
    into=CURRENCIES,
    rate=RATES,
    lines=LINES,
    alone=st.integers(0, 10**9),
    paid=st.integers(0, 10**6),
)
def test_the_oracle_converts_the_same(
    currency: str, into: str, rate: str, lines: list[tuple[int, int, int]], alone: int, paid: int
) -> None:
    total = sum(amount for amount, _, _ in lines) if lines else alone
    bill = made(currency, lines, total, paid)
    found = convert(bill, Rate(1, rate, AT, "bank"), into)
    if found is None:
        return
    own = [
        Counted(line.categories, line.amount_minor, line.discount_minor, line.tax_minor)
        for line in bill.lines
    ]
    again = converted(total, own, bill.tenders, Conversion(currency, 1, rate, AT, "bank", 0), into)
    assert again.total_minor == found.total_minor
    assert [line[1:4] for line in again.lines] == [
        (line.amount_minor, line.discount_minor, line.tax_minor) for line in found.lines
    ]
    assert again.tenders == dict(found.tenders)


def test_lines_are_served_by_their_largest_remainders() -> None:
    bill = made("EUR", [(333, 0, 0), (333, 0, 0), (334, 1, 0)], 1000, 0)
    found = convert(bill, Rate(1, "4.0555", AT, "bank"), "SAR")  # 4055.5, half to even: 4056
    assert found is not None
    assert (found.currency, found.total_minor) == ("SAR", 4056)
    assert [(line.amount_minor, line.discount_minor) for line in found.lines] == [
        (1351, 0),
        (1350, 0),
        (1355, 4),
    ]
