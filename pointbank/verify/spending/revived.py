"""Points that had expired when a till told what it had let a member spend before: they came back for that, and went with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pointbank.verify.books import Books
from pointbank.verify.ledger.wallet import Posting, WalletWalk
from pointbank.verify.matching import told


class Revived:
    """What the lines of wallets say of them, and whose they are."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._check = books.check(
            "redemptions:revived",
            2,
            "expired points came back for what a till that could not ask had spent while they lived, and went with it; none that a "
            "refund had found over",
        )
        self._redemptions: set[bytes] = set()
        self._lots: set[bytes] = set()

    def wallet(self, walk: WalletWalk) -> None:
        """A wallet, or a family, whose lines have gone by."""
        self._check.compared += len(walk.back)
        self._redemptions.update(one.redemption_id for one in walk.back)
        self._lots.update(one.lot_id for one in walk.back)
        for problem in _wrongs(walk) if walk.back else ():
            self._check.wrong(f"wallet {told(walk.wallet_id)}: {problem}")

    async def walk(self) -> None:
        """Whose they are, and whether a refund had taken them back."""
        if not self._redemptions:
            return
        for row in await self._rows("not_offline", self._redemptions):
            self._check.wrong(f"redemption {told(row['redemption_id'])} was no till's that could not ask")
        for row in await self._rows("taken_back", self._lots):
            self._check.wrong(
                f"accrual {told(row['accrual_id'])}: refunds found {row['lapsed']} points over, {row['expired']} are left of them"
            )

    async def _rows(self, query: str, ids: set[bytes]) -> Sequence[Any]:
        asked = [UUID(bytes=one) for one in sorted(ids)]
        return await self._books.snapshot.rows("spending/offline.sql", query, asked)


def _wrongs(walk: WalletWalk) -> Iterator[str]:
    expired: dict[tuple[bytes, datetime], int] = defaultdict(int)
    for gone in walk.gone:
        expired[gone.lot_id, gone.at] += gone.points
    spent: dict[bytes, Posting] = {
        one.source_id: one for one in walk.postings if one.kind in {"redeem", "overdraw"}
    }
    back: dict[tuple[bytes, bytes], int] = defaultdict(int)
    for one in walk.back:
        expired[one.lot_id, one.at] -= one.points
        back[one.redemption_id, one.lot_id] += one.points
        redeemed = spent.get(one.redemption_id)
        if redeemed is None or redeemed.effective_at >= one.at:
            yield f"line {one.seq} brings points back that had expired at {one.at}, and nothing had spent them before"
        if expired[one.lot_id, one.at] < 0:
            yield f"line {one.seq} brings back more of lot {told(one.lot_id)} than had expired at {one.at}"
    for (redemption_id, lot_id), points in back.items():
        taken = (
            sum(some for lot, some, _ in spent[redemption_id].lots if lot == lot_id)
            if redemption_id in spent
            else 0
        )
        if points > taken:
            yield f"{points} points of lot {told(lot_id)} came back for redemption {told(redemption_id)}, which took {taken}"
