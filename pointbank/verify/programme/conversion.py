"""A bill in another currency, converted a second time: exact fractions, in the order in which largest remainders are served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

from pointbank.verify.programme.numbers import minor_per_point, rounded
from pointbank.verify.programme.terms import Line


class Conversion(msgspec.Struct, frozen=True, gc=False):
    """By which rate a bill was converted, and what its total came to, as its decision says."""

    from_currency: str
    number: int
    rate: str
    valid_from: datetime
    source: str
    total_minor: int


class Rate(NamedTuple):
    """A rate as earn keeps it."""

    rate: str
    valid_from: datetime
    source: str


Rates = Mapping[tuple[str, str, int], Rate]
"""By from, to, and number."""


class Converted(NamedTuple):
    """The same bill in the programme's currency."""

    total_minor: int
    lines: list[Line]
    tenders: dict[str, int]


def converted(
    total_minor: int, lines: Sequence[Line], tenders: Sequence[tuple[str, int]], by: Conversion, currency: str
) -> Converted:
    """What the decision must have judged."""
    times = minor_per_point(by.rate, currency) / minor_per_point("1", by.from_currency)
    total = _whole(total_minor * times)
    amounts = _together([line.amount_minor for line in lines], times, total)
    paid = _together([amount for _, amount in tenders], times, total)
    return Converted(
        total,
        [
            line._replace(
                amount_minor=amount,
                discount_minor=_at_least_one(line.discount_minor, times),
                tax_minor=_at_least_one(line.tax_minor, times),
            )
            for line, amount in zip(lines, amounts, strict=True)
        ],
        {tender: amount for (tender, _), amount in zip(tenders, paid, strict=True)},
    )


def objections(
    bill: Any, by: Conversion, currency: str, accepts: Sequence[str], rates: Rates
) -> Iterator[str]:
    """What of a conversion does not follow from the programme and the rates that earn knows."""
    if by.from_currency != bill["currency"] or by.from_currency not in accepts:
        yield f"converted from {by.from_currency}, the bill is in {bill['currency']}, accepted are {list(accepts)}"
    known = rates.get((by.from_currency, currency, by.number))
    if known != (by.rate, by.valid_from, by.source):
        yield f"converted by {by.rate} of {by.valid_from} by {by.source}, rate {by.number} is {known}"
    if by.valid_from > bill["occurred_at"]:
        yield f"its rate holds from {by.valid_from}, later than the bill"


def _whole(value: Fraction) -> int:
    return rounded("half_even", value.numerator, value.denominator)


def _at_least_one(amount: int, times: Fraction) -> int:
    return max(_whole(amount * times), 1) if amount else 0


def _together(amounts: Sequence[int], times: Fraction, total: int) -> list[int]:
    exact = [amount * times for amount in amounts]
    made = [int(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda place: exact[place] - made[place], reverse=True)  # stable
    for place in order[: total - sum(made)] if amounts else ():
        made[place] += 1
    return made
