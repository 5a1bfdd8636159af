"""Debt: points that were reversed after they had been spent. It is repaid first, by what is earned later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from services.redeem.domain.ledger import Line, Lot, Wallet
from services.redeem.domain.posting import Act, Posting, Value


def repay(
    wallet: Wallet,
    lots: Iterable[tuple[Lot, int]],
    *,
    value: Value,
    now: datetime,
    source_id: UUID | None,
    new_id: Callable[[], UUID],
) -> Posting | None:
    """Takes what is owed from points that just came, no more than so many of each lot; None where nothing is owed.

    What has expired by `now` repays nothing. It happens now, however long ago the points came: then nothing may have been owed yet.
    """
    if not wallet.debt:
        return None
    act = Act(wallet, new_id(), value, now, source_id)
    for lot, came in lots:
        part = min(-wallet.debt, came, lot.usable)
        if part > 0 and not lot.expired_by(now):
            act.move("repay", "available", "debt", part, lot)
    return act.done()


def came_by(lines: Iterable[Line], lots: Iterable[Lot]) -> list[tuple[Lot, int]]:
    """The lots that these lines brought points into `available` for, and how many."""
    by_id = {lot.lot_id: lot for lot in lots}
    return [
        (by_id[line.lot_id], line.points)
        for line in lines
        if line.to_bucket == "available" and line.lot_id in by_id
    ]
