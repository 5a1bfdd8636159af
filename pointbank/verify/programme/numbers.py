"""Rounding and money, written a second time: exact fractions, integers out."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

# ISO 4217: the minor unit has two digits, but for these.
_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def rounded(mode: str, numerator: int, denominator: int) -> int:
    """A fraction that is not negative as an integer, by a mode of the programme document."""
    whole, rest = divmod(numerator, denominator)
    match mode:
        case "floor":
            return whole
        case "ceil":
            return whole + (rest > 0)
        case "half_up":
            return whole + (2 * rest >= denominator)
        case "half_even":
            return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2))
    raise ValueError(f"no rounding mode: {mode}")


@lru_cache(maxsize=1024)
def minor_per_point(point_value: str, currency: str) -> Fraction:
    """What a point is worth, in minor units of the currency."""
    return Fraction(point_value) * Fraction(int(10 ** _DIGITS.get(currency, 2)))


def money_of(points: int, per_point: Fraction) -> int:
    """What points are worth in whole minor units; a part of one is dropped."""
    return points * per_point.numerator // per_point.denominator
