"""Settlement: variances against the lines that were imported, and the bills and refunds of their days."""

from __future__ import annotations

from decimal import Decimal

from pointbank.verify.books import Books

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
        async for page in self._books.snapshot.pages("settlements.sql", "variances"):
            for row in page:
                check.compared += 1
                name = f"variance {row['variance_id']} of {row['merchant']} on {row['day']}"
                if row["found"] is None:
                    check.wrong(f"{name}: nothing was said of that day")
                elif not row["later"]:
                    kept, computed = (
                        (row["found_minor"], row["expected_minor"]),
                        (row["found"], row["expected"]),
                    )
                    if kept != computed:
                        check.wrong(
                            f"{name}: what was said, and what bills say, is {kept}, computed {computed}"
                        )
                if abs(row["found_minor"] - row["expected_minor"]) <= HALF:
                    check.wrong(f"{name} is off by no more than half a minor unit")
