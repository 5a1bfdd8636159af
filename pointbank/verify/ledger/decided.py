"""What people decided about differences, variances and flagged bills, against the audit."""

from __future__ import annotations

from pointbank.verify.books import Books


class Decided:
    """The tables alone: nothing is told of it."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._check = books.check(
            "decisions:audited",
            8,
            "what stands as decided about a difference, a variance or a flagged bill is what the audit says, and of whom",
        )

    async def walk(self) -> None:
        """Those that do not agree."""
        if self._books.closed:
            return
        snapshot = self._books.snapshot
        self._check.compared += await snapshot.value("ledger/decided.sql", "decided")
        async for page in snapshot.pages("ledger/decided.sql", "undecided"):
            for what, state, by, reason, audited in page:
                self._check.wrong(f"{what} is {state} by {by} for {reason}; the audit says {audited}")
