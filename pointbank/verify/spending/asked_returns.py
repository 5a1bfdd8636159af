"""What earn asked to come back of what points had paid for, as the bank keeps it."""

from __future__ import annotations

from pointbank.verify.books import Books
from pointbank.verify.events import Envelope, binary
from pointbank.verify.events.earn import Asked


class AskedReturns:
    """The side of the table, and the side of the events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._kept = books.match(
            "returns:asked", 1, "each request of a refund that the bank heard is kept once, as it was asked",
            ("refund", "bill", "merchant", "bill_ref", "returned", "total", "decided_at"), ours="the requests", theirs="the bank",
        )  # fmt: skip
        self._seen: set[bytes] = set()

    def on_asked(self, n: int | None, envelope: Envelope, asked: Asked) -> None:
        """points.return_requested, as often as it was asked."""
        request_id = binary(asked.request_id)
        if self._books.heard["earn", "redeem"].applied(n) and request_id not in self._seen:
            self._seen.add(request_id)
            self._kept.ours(
                (
                    request_id, asked.refund_id, asked.bill_id, asked.merchant, asked.bill_ref, asked.returned_minor,
                    asked.total_minor, asked.decided_at,
                )
            )  # fmt: skip

    async def walk(self) -> None:
        """The table, after the events."""
        async for page in self._books.snapshot.pages("spending/redemptions.sql", "asked"):
            for row in page:
                self._kept.theirs(tuple(row))
