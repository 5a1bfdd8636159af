"""Rounding and money, written a second time: exact fractions, integers out."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

# ISO 4217: the minor unit has two digits, but for these.
_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}

MOST_MINOR = 2**63 - 1


def decimal_of(written: Any) -> Fraction:
    """A number as a document writes it. ValueError for what nobody could write there: an exponent may have a billion digits."""
    if isinstance(written, str) and not (len(written) <= 64 and written.replace(".", "", 1).isdecimal()):
        raise ValueError(f"{written[:64]!r} is no decimal")
    return Fraction(written)


def zone_of(name: str) -> ZoneInfo:
    """A time zone. ValueError where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (OSError, KeyError) as error:  # a folder of zones is a file that can't be read
        raise ValueError(f"{name!r} is no time zone") from error


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
    return decimal_of(point_value) * Fraction(int(10 ** _DIGITS.get(currency, 2)))


def money_of(points: int, per_point: Fraction) -> int:
    """What points are worth in whole minor units; a part of one is dropped, and what no column holds is told as the most that one
    does."""
    return min(points * per_point.numerator // per_point.denominator, MOST_MINOR)
