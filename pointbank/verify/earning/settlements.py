"""Settlement: variances against the lines that were imported, and the bills and refunds of their days."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.programme.numbers import minor_per_point

HALF = Decimal("0.5")


class Settlements:
    """The side of earn's tables."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def walk(self) -> None:
        """Every variance, and every day that lines name."""
        check = self._books.check(
            "settlements:computed",
            8,
            "each variance is what the lines and bills of its day came to when it was last seen",
        )
        async for page in self._books.snapshot.pages("earning/settlements.sql", "variances"):
            for row in page:
                check.compared += 1
                name = f"variance {row['variance_id']} of {row['merchant']} on {row['day']}"
                found, expected, missing = _computed(row)
                if found is None:
                    check.wrong(f"{name}: nothing was said of that day")
                elif not row["later"]:
                    kept = row["found_minor"], row["expected_minor"], row["missing"]
                    if kept != (found, expected, missing):
                        computed = (found, expected, missing)
                        check.wrong(
                            f"{name}: what was said, what bills say, and what is missing, is {kept}, computed {computed}"
                        )
                if abs(row["found_minor"] - row["expected_minor"]) <= HALF:
                    check.wrong(f"{name} is off by no more than half a minor unit")


def _computed(row: Any) -> tuple[Decimal | None, int, str | None]:
    """What was said, what bills say, and what of both is missing. Nothing said at all is right where a total is missed."""
    foreign: dict[str, list[tuple[int, str | None]]] = {}
    for currency, minor, rate in zip(
        row["of_currencies"] or (), row["minors"] or (), row["rates"] or (), strict=True
    ):
        foreign.setdefault(currency, []).append((minor, rate))
    if row["found"] is None:
        return (Decimal(0) if row["missing"] == "total" else None), row["expected"], "total"
    rated = {code: bills for code, bills in foreign.items() if all(rate is not None for _, rate in bills)}
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
        Fraction(rate) * minor * minor_per_point("1", into) / minor_per_point("1", of)
    )  # half to even
