"""Points that come back meet what was to be taken of them: refunds that were short, debts, refunds of the bill they paid for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain import returning
from services.redeem.domain.coming_back import Short, recover
from services.redeem.domain.debts import came_by, repay
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Posting
from services.redeem.domain.reserving import Redemption
from services.redeem.domain.returning import BackTo, Returned
from services.redeem.handlers.tell import tell_expired
from services.redeem.handlers.tell_moves import tell_recovered, tell_repaid
from services.redeem.handlers.tell_returned import tell_returned
from services.redeem.store import asked, returns
from services.redeem.store.postings import NewPosting
from shared.events import ReturnRequested
from shared.ids import uuid7
from shared.messaging import Item, Tx
from shared.programme.compiled import CompiledProgramme


class ComingBack:
    """What a batch brings back, and what it comes to. Made under the wallets' locks, after their lots are loaded."""

    def __init__(self, tx: Tx, short: dict[UUID, Short], now: datetime, keys: list[NewPosting]) -> None:
        self._tx, self._short, self._now, self._keys = tx, short, now, keys
        self._recovered: list[asked.Recovery] = []
        self._returned: dict[UUID, Redemption] = {}
        self._rows: list[returns.Return] = []
        self._lots: list[tuple[UUID, BackTo]] = []

    @classmethod
    async def of(
        cls, tx: Tx, redemptions: Iterable[Redemption], now: datetime, keys: list[NewPosting]
    ) -> ComingBack:
        """For what these redemptions took."""
        lots = {part.lot_id for one in redemptions for part in one.lots}
        return cls(tx, await asked.short_lots(tx.db, lots) if lots else {}, now, keys)

    def meets(
        self,
        item: Item[Any],
        wallet: Wallet,
        posting: Posting,
        expired: Posting | None,
        terms: CompiledProgramme,
        redemption_id: UUID,
        at: datetime,
    ) -> None:
        """Points that a posting brought back, some of which may have `expired` at once."""
        came = _left(came_by(posting.lines, wallet.lots), expired)
        recovered, left = recover(wallet, came, self._short, effective_at=at, new_id=uuid7)
        for one in recovered:
            self._keys.append(NewPosting.of(wallet, one.posting))
            tell_recovered(self._tx, item, wallet, one)
            self._recovered.append(
                asked.Recovery(
                    one.posting.posting_id,
                    one.short.asked.request_id,
                    one.short.accrual_id,
                    wallet.wallet_id,
                    one.posting.points,
                )
            )
        repaid = repay(wallet, left, value=terms, now=self._now, source_id=redemption_id, new_id=uuid7)
        if repaid is not None:
            self._keys.append(NewPosting.of(wallet, repaid))
            tell_repaid(self._tx, item, wallet, repaid, terms)

    def give_back(
        self,
        item: Item[Any],
        wallet: Wallet,
        redemption: Redemption,
        total: returning.Total,
        terms: CompiledProgramme,
        at: datetime,
        *,
        return_id: UUID,
        request: ReturnRequested | None,
        parts: int = 1,
        late: bool = False,
    ) -> Returned:
        """Posts and tells what of a redemption comes back."""
        tx, keys = self._tx, self._keys
        returned = returning.give_back(
            wallet,
            redemption,
            total,
            renewed=terms.redeeming.restore == "renewed",
            terms=terms,
            effective_at=at,
            now=self._now,
            new_id=uuid7,
        )
        if returned.woken is not None:
            keys.append(NewPosting.of(wallet, returned.woken))
            tell_expired(tx, item, terms, wallet, returned.woken)
        moved = return_id if returned.points or returned.money_minor else None
        tell_returned(tx, item, terms, wallet, redemption, returned, at, moved, request, parts, late=late)
        self._lots += [(return_id, back) for back in returned.lots]
        if returned.posting is not None:
            keys.append(NewPosting.of(wallet, returned.posting))
        if returned.expired is not None:
            keys.append(NewPosting.of(wallet, returned.expired))
            tell_expired(tx, item, terms, wallet, returned.expired)
        if returned.posting is not None:
            self.meets(item, wallet, returned.posting, returned.expired, terms, redemption.redemption_id, at)
        return returned

    def refund(
        self,
        item: Item[Any],
        wallet: Wallet,
        redemption: Redemption,
        request: ReturnRequested,
        terms: CompiledProgramme,
        *,
        parts: int = 1,
        late: bool = False,
    ) -> None:
        """Brings back the share of a captured redemption whose bill was refunded; `late`: it was asked before it was captured, or
        told of. On the clock of what happened it came back with the refund, and never before it was spent."""
        total = returning.refunded(
            redemption, returned_minor=request.returned_minor, total_minor=request.total_minor
        )
        assert redemption.captured_at is not None
        at = max(min(request.effective_at, self._now), redemption.captured_at)
        return_id = uuid7()
        returned = self.give_back(
            item,
            wallet,
            redemption,
            total,
            terms,
            at,
            return_id=return_id,
            request=request,
            parts=parts,
            late=late,
        )
        if returned.points or returned.money_minor:
            row = return_row(return_id, redemption, returned, at, None, None, None, request.request_id)
            self.keep(redemption, row)

    def keep(self, redemption: Redemption, row: returns.Return) -> None:
        """A return that is to be written."""
        self._returned[redemption.redemption_id] = redemption
        self._rows.append(row)

    async def write(self) -> None:
        """Writes what came back and what was taken of it."""
        await returns.give_back(self._tx.db, list(self._returned.values()), self._rows, self._lots)
        if self._recovered:
            await asked.write_recoveries(self._tx.db, self._recovered)


def _left(came: Sequence[tuple[Lot, int]], expired: Posting | None) -> list[tuple[Lot, int]]:
    gone: dict[UUID | None, int] = {}
    for line in expired.lines if expired is not None else ():
        gone[line.lot_id] = gone.get(line.lot_id, 0) + line.points
    return [
        (lot, points - gone.get(lot.lot_id, 0)) for lot, points in came if points > gone.get(lot.lot_id, 0)
    ]


def return_row(
    return_id: UUID,
    redemption: Redemption,
    returned: Returned,
    at: datetime,
    return_ref: str | None,
    request_hash: bytes | None,
    answer: bytes | None,
    request_id: UUID | None,
) -> returns.Return:
    """A return as it is written."""
    return returns.Return(
        return_id,
        redemption.redemption_id,
        returned.posting.posting_id if returned.posting is not None else None,
        returned.points,
        returned.money_minor,
        redemption.merchant,
        return_ref,
        request_hash,
        answer,
        request_id,
        at,
    )
