"""Points and money: integers in minor units, rates as exact fractions, never a binary float."""

import re
from collections.abc import Callable
from functools import lru_cache
from math import gcd
from typing import Literal

import msgspec

RoundingMode = Literal["floor", "half_up", "half_even", "ceil"]
Ratio = tuple[int, int]

# ISO 4217 list one. CLDR's digits (babel) are for display and differ from the standard (IQD, LBP, ...).
_EXPONENTS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS "
    "GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL "
    "MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK "
    "PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS "
    "TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
CURRENCIES: dict[str, int] = {code: digits for digits, codes in _EXPONENTS.items() for code in codes.split()}

MOST_MINOR = 2**63 - 1
"""The most money that a column holds, and that is told."""

_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,12})?", re.ASCII)


class Money(msgspec.Struct, frozen=True, gc=False):
    """An amount in minor units of an ISO 4217 currency."""

    amount_minor: int
    currency: str


class Worth(msgspec.Struct, frozen=True, gc=False):
    """Points with what they are worth, as they stand on the wire."""

    points: int
    money: Money


def exponent(currency: str) -> int:
    """How many digits the minor unit has: SAR 2, KWD 3, JPY 0. KeyError for what is no ISO 4217 code."""
    return CURRENCIES[currency]


def decimal_ratio(text: str) -> Ratio:
    """A plain decimal ("1", "0.10") as a reduced fraction; ValueError for a sign or an exponent."""
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError("a decimal has 1 to 15 digits and at most 12 more after a point")
    whole, _, fraction = text.partition(".")
    numerator, denominator = int(whole + fraction), 10 ** len(fraction)
    shared = gcd(numerator, denominator)
    return numerator // shared, denominator // shared


def floor_ratio(numerator: int, denominator: int) -> int:
    """The greatest integer not above the fraction."""
    return numerator // denominator


def ceil_ratio(numerator: int, denominator: int) -> int:
    """The least integer not below the fraction."""
    return -(-numerator // denominator)


def half_up_ratio(numerator: int, denominator: int) -> int:
    """The nearest integer; a half goes away from zero, as in accounting."""
    if numerator < 0:
        return -half_up_ratio(-numerator, denominator)
    return (2 * numerator + denominator) // (2 * denominator)


def half_even_ratio(numerator: int, denominator: int) -> int:
    """The nearest integer; a half goes to the even neighbour."""
    whole, rest = divmod(numerator, denominator)
    doubled = 2 * rest
    if doubled > denominator or (doubled == denominator and whole & 1):
        return whole + 1
    return whole


ROUNDINGS: dict[RoundingMode, Callable[[int, int], int]] = {
    "floor": floor_ratio,
    "half_up": half_up_ratio,
    "half_even": half_even_ratio,
    "ceil": ceil_ratio,
}


def round_ratio(mode: RoundingMode, numerator: int, denominator: int) -> int:
    """The fraction rounded to an integer; `denominator` is positive."""
    return ROUNDINGS[mode](numerator, denominator)


@lru_cache(maxsize=1024)
def minor_per_point(point_value: str, currency: str) -> Ratio:
    """What a point is worth in minor units, as a reduced fraction: "0.10" SAR is 10/1, "0.005" USD is 1/2."""
    numerator, denominator = decimal_ratio(point_value)
    numerator *= 10 ** exponent(currency)
    shared = gcd(numerator, denominator)
    return numerator // shared, denominator // shared


def money_of(points: int, point_value: str, currency: str) -> int:
    """What points are worth in minor units; a part of a minor unit is dropped, towards zero. Never more than MOST_MINOR."""
    numerator, denominator = minor_per_point(point_value, currency)
    if points < 0:
        return -min(-points * numerator // denominator, MOST_MINOR)
    return min(points * numerator // denominator, MOST_MINOR)


def told(minor: int) -> int:
    """An amount, or a sum of some, as it is told: no farther from 0 than MOST_MINOR."""
    return max(-MOST_MINOR, min(minor, MOST_MINOR))


def points_for(amount_minor: int, point_value: str, currency: str) -> int:
    """The price of an amount in points, rounded up: the points are always worth the amount."""
    numerator, denominator = minor_per_point(point_value, currency)
    return -(-amount_minor * denominator // numerator)


@lru_cache(maxsize=16_384)
def worth(points: int, point_value: str, currency: str) -> Worth:
    """Points with their money, ready for the wire."""
    return Worth(points, Money(money_of(points, point_value, currency), currency))
