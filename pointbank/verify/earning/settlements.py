"""Settlement: variances against the lines that were imported, and the bills and refunds of their days."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.programme.numbers import decimal_of, minor_per_point

HALF = Decimal("0.5")


class Settlements:
    """The side of earn's tables."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def walk(self) -> None:
        """Every variance, and every day that lines name."""
        if self._books.closed:
            return
        check = self._books.check(
            "settlements:computed",
            8,
            "each variance is what the lines and bills of its day came to when it was last seen",
        )
        async for page in self._books.snapshot.pages("earning/settlements.sql", "variances"):
            for row in page:
                check.compared += 1
                with self._books.reading("variance", row["variance_id"]):
                    for problem in _problems(row):
                        check.wrong(
                            f"variance {row['variance_id']} of {row['merchant']} on {row['day']}: {problem}"
                        )
        noticed = self._books.check(
            "settlements:noticed",
            8,
            "each day whose lines are off from its bills has a variance since it was checked",
        )
        noticed.compared += await self._books.snapshot.value("earning/settlements.sql", "said")
        async for page in self._books.snapshot.pages("earning/settlements.sql", "unnoticed"):
            for merchant, day, kind, currency, found, expected in page:
                noticed.wrong(
                    f"{kind} of {merchant} on {day} in {currency} is {found:f}, "
                    f"its bills come to {expected}, and no variance says so"
                )


def _problems(row: Any) -> Iterator[str]:
    found, expected, missing = _computed(row)
    if row["closed"] and row["another"]:
        return  # one or the other is of numbers that were
    if row["closed"] and row["agreed"]:
        yield from _disagreed(row, found or Decimal(0), expected)
    elif found is None:
        yield "nothing was said of that day"
    elif not row["later"]:
        kept, computed = (
            (row["found_minor"], row["expected_minor"], row["missing"]),
            (found, expected, missing),
        )
        if kept != computed:
            yield f"what was said, what bills say, and what is missing, is {_told(kept)}, computed {_told(computed)}"
    if abs(row["found_minor"] - row["expected_minor"]) <= HALF:
        yield "it is off by no more than half a minor unit"


def _disagreed(row: Any, found: Decimal, expected: int) -> Iterator[str]:
    """Whether what is closed because it agrees does not. What was converted may have another rate by now, and bills of which nobody
    said a total may count in another currency's."""
    if row["of_currencies"] or row["missing"] == "total" or abs(found - expected) <= HALF:
        return
    if not row["later"]:
        yield "it is closed as if it agreed, and nothing was written since it did not"
    elif not row["since"]:
        yield f"it is closed as if it agreed: {found:f} was said, bills say {expected}"


def _told(of: tuple[Decimal, int, str | None]) -> str:
    found, expected, missing = of
    return f"{found:f}, {expected}, {missing or 'nothing'}"


def _computed(row: Any) -> tuple[Decimal | None, int, str | None]:
    """What was said, what bills say, and what of both is missing. Nothing said at all is right where a total is missed."""
    foreign: dict[str, list[tuple[int, str | None]]] = {}
    taken = set()
    for currency, minor, rate, accepted in zip(
        *(row[name] or () for name in ("of_currencies", "minors", "rates", "accepted")), strict=True
    ):
        foreign.setdefault(currency, []).append((minor, rate))
        if accepted:
            taken.add(currency)
    if row["found"] is None:
        return (Decimal(0) if row["missing"] == "total" else None), row["expected"], "total"
    rated = {
        code: bills
        for code, bills in foreign.items()
        if code in taken and all(rate is not None for _, rate in bills)
    }
    more = sum(
        _converted(minor, rate, code, row["currency"])
        for code, bills in rated.items()
        for minor, rate in bills
        if rate is not None
    )
    without = row["without_bills"] and not rated
    return row["found"], row["expected"] + more, "bills" if without else None


def _converted(minor: int, rate: str, of: str, into: str) -> int:
    return round(
        decimal_of(rate) * minor * minor_per_point("1", into) / minor_per_point("1", of)
    )  # half to even
