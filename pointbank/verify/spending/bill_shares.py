"""What points may pay of a bill, against all that paid for it."""

from __future__ import annotations

from typing import Any

from pointbank.verify.books import Books


class BillShares:
    """Who had to say what a bill comes to paid no more than its share: offline nobody could be refused."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._shares = books.check(
            "redemptions:shares",
            2,
            "points paid for no more of a bill than the most that they may, over all who paid",
        )

    async def walk(self) -> None:
        """Every bill of which the most was said."""
        async for page in self._books.snapshot.pages("spending/bill_shares.sql", "bill_shares"):
            for row in page:
                self._shares.compared += 1
                if (paid := self._paid(row)) > row["most_minor"]:
                    self._shares.wrong(
                        f"points of {row['programme']} paid {paid} of the bill {row['bill_ref']} of {row['merchant']}, "
                        f"of which they may pay {row['most_minor']}"
                    )

    def _paid(self, row: Any) -> int:
        """What those paid who said what the bill comes to, in minor units: all, where the version asks for it."""
        by_version = zip(row["versions"], row["paids"], row["saids"], strict=True)
        return sum(
            int(paid if self._asked(row["programme"], version, row["merchant"]) else said)
            for version, paid, said in by_version
        )

    def _asked(self, programme: str, version: int | None, merchant: str) -> bool:
        terms = None if version is None else self._books.terms.get((programme, version))
        return terms is not None and (terms.shares is None or merchant in terms.shares)
