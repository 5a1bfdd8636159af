"""A bill in another currency as a programme counts it, by a dated rate.

The total is converted exactly and rounded half to even. Lines, and what was paid with each tender, get whole minor units that
add up to it: each the floor of its exact amount, the units that are left to those with the largest remainders, the first of equals.
A discount or a tax is rounded by itself, half to even; one that is there stays at least one minor unit.
`pointbank verify` computes the same a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from services.earn.domain.bill import Line, RecordBill
from services.earn.domain.limits import MAX_MINOR
from shared.money import Ratio, decimal_ratio, exponent, half_even_ratio


class Rate(msgspec.Struct, frozen=True, gc=False):
    """What one unit of a currency is worth in another, in major units; `number` counts the rates of the pair."""

    number: int
    rate: str
    valid_from: datetime
    source: str


class Conversion(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How a bill was converted, as its decision keeps it: by which rate, and what its total came to."""

    from_currency: str
    number: int
    rate: str
    valid_from: datetime
    source: str
    total_minor: int


def factor(rate: str, from_currency: str, to_currency: str) -> Ratio:
    """Minor units of the one for a minor unit of the other."""
    numerator, denominator = decimal_ratio(rate)
    return numerator * 10 ** exponent(to_currency), denominator * 10 ** exponent(from_currency)


def spread(amounts: Sequence[int], total: int, by: Ratio) -> list[int]:
    """The amounts converted to whole minor units that add up to `total`, the rounded conversion of their sum."""
    numerator, denominator = by
    parts = [divmod(amount * numerator, denominator) for amount in amounts]
    made = [whole for whole, _ in parts]
    left = total - sum(made)
    for place in sorted(range(len(parts)), key=lambda k: (-parts[k][1], k))[:left]:
        made[place] += 1
    return made


def back(amount_minor: int, by: Conversion, currency: str) -> int:
    """What may be taken off a bill in its own currency for so much of the programme's: floored, so that converted it is no more."""
    numerator, denominator = factor(by.rate, by.from_currency, currency)
    return amount_minor * denominator // numerator


def convert(bill: RecordBill, rate: Rate, currency: str) -> RecordBill | None:
    """The bill in that currency. None: its total is more than a bill may have."""
    by = factor(rate.rate, bill.currency, currency)
    total = half_even_ratio(bill.total_minor * by[0], by[1])
    if total > MAX_MINOR:
        return None
    amounts = spread([line.amount_minor for line in bill.lines], total, by) if bill.lines else []
    paid = spread([amount for _, amount in bill.tenders], total, by) if bill.tenders else []
    return msgspec.structs.replace(
        bill,
        currency=currency,
        total_minor=total,
        lines=tuple([_line(line, amount, by) for line, amount in zip(bill.lines, amounts, strict=True)]),
        tenders=tuple([(tender, amount) for (tender, _), amount in zip(bill.tenders, paid, strict=True)]),
    )


def _line(line: Line, amount: int, by: Ratio) -> Line:
    return msgspec.structs.replace(
        line,
        amount_minor=amount,
        discount_minor=_part(line.discount_minor, by),
        tax_minor=_part(line.tax_minor, by),
    )


def _part(amount: int, by: Ratio) -> int:
    return max(half_even_ratio(amount * by[0], by[1]), 1) if amount else 0
