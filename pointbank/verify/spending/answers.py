"""Answers of the bank that are kept for who asks again, against what they tell of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from pointbank.verify.books import Books, known_ids
from pointbank.verify.events import Money, Worth


class _Returned(msgspec.Struct, frozen=True):
    return_id: str
    redemption_id: str
    return_ref: str
    effective_at: datetime
    returned: Worth


class _Refunded(msgspec.Struct, frozen=True):
    refund_id: str
    use_id: str
    card_id: str
    refund_ref: str
    applied: Money


class _Redeemed(msgspec.Struct, frozen=True):
    redemption_id: str
    wallet_id: str
    status: str
    redeemed: Worth | None = None
    reserved: Worth | None = None


_returned = msgspec.json.Decoder(_Returned).decode
_refunded = msgspec.json.Decoder(_Refunded).decode
_redeemed = msgspec.json.Decoder(_Redeemed).decode


class Answers:
    """The side of the tables; nothing is told of answers."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def walk(self) -> None:
        """Every answer that is kept."""
        books, snapshot = self._books, self._books.snapshot
        if books.closed:
            return
        check = self._check = books.check(
            "answers:kept",
            1,
            "what is answered again of redemptions, returns and refunds to gift cards is what there is of them",
        )
        async for page in snapshot.pages("spending/answers.sql", "returns"):
            for row in page:
                check.compared += 1
                with books.reading("the answer to return", row["return_id"]):
                    self._same(f"return {row['return_id']}", _of_return(row))
        async for page in snapshot.pages("spending/answers.sql", "card_refunds"):
            for row in page:
                check.compared += 1
                with books.reading("the answer to refund", row["refund_id"]):
                    self._same(f"refund {row['refund_id']}", _of_refund(row))
        async for page in snapshot.pages("spending/answers.sql", "redeemed"):
            await self._redemptions(page)

    async def _redemptions(self, page: Sequence[Any]) -> None:
        said: list[tuple[str, _Redeemed]] = []
        for key, body in page:
            self._check.compared += 1
            with self._books.reading("the answer under key", key):
                said.append((key, _redeemed(body)))
        ids = known_ids(one.redemption_id for _, one in said)
        rows = await self._books.snapshot.rows("spending/answers.sql", "redemptions", ids)
        kept = {row["redemption_id"]: (row["wallet_id"], row["points"], row["money_minor"]) for row in rows}
        for key, one in said:
            worth = one.redeemed if one.status == "captured" else one.reserved
            told = None if worth is None else (one.wallet_id, worth.points, worth.money.amount_minor)
            if (there := kept.get(one.redemption_id)) != told:
                self._check.wrong(
                    f"key {key} tells of redemption {one.redemption_id} as {told}, it is {there}"
                )

    def _same(self, what: str, pairs: Iterator[tuple[str, Any, Any]]) -> None:
        for name, told, kept in pairs:
            if told != kept:
                self._check.wrong(f"{what} is answered again with {name} {told}, it is {kept}")


def _of_return(row: Any) -> Iterator[tuple[str, Any, Any]]:
    told = _returned(row["answer"])
    yield "id", told.return_id, row["return_id"]
    yield "redemption", told.redemption_id, row["redemption_id"]
    yield "reference", told.return_ref, row["return_ref"]
    yield "effective_at", told.effective_at, row["effective_at"]
    yield "points", told.returned.points, row["points"]
    yield "money", told.returned.money.amount_minor, row["money_minor"]


def _of_refund(row: Any) -> Iterator[tuple[str, Any, Any]]:
    told = _refunded(row["answer"])
    yield "id", told.refund_id, row["refund_id"]
    yield "use", told.use_id, row["use_id"]
    yield "card", told.card_id, row["card_id"]
    yield "reference", told.refund_ref, row["refund_ref"]
    yield "amount", told.applied.amount_minor, row["amount_minor"]
    asked = row["asked_minor"]
    yield "more than was asked:", asked is not None and told.applied.amount_minor > asked, False
