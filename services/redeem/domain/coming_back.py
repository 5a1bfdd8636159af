"""What becomes of points that come back to the wallet that had lent or spent them: a refund that was short takes them first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Act, Posting
from shared.events import ReversalRequested


class Short(msgspec.Struct):
    """An accrual that was to be taken back, and of which `points` were spent then: `asked` was short of them. `taken`: what was
    ever taken back of it, debt included. `earned_at`: when it was earned, whatever lot its points come back to."""

    accrual_id: UUID
    points: int
    taken: int
    asked: ReversalRequested
    earned_at: datetime


class Recovered(msgspec.Struct, frozen=True):
    """Points that came back and were taken. `through`: what was ever taken back of the accrual by now."""

    short: Short
    posting: Posting
    through: int


def recover(
    wallet: Wallet,
    came: Iterable[tuple[Lot, int]],
    short: dict[UUID, Short],
    *,
    effective_at: datetime,
    new_id: Callable[[], UUID],
) -> tuple[list[Recovered], list[tuple[Lot, int]]]:
    """Takes back what reversals were short of, no more than so many of each lot; `short` is by lot, and counted down. What was
    given away is no reversal's of who gave it. Gives also what is left of what came."""
    found, left = [], []
    for lot, points in came:
        one = short.get(lot.lot_id)
        if one is None and lot.parent_lot is not None and not lot.given:
            one = short.get(lot.parent_lot)
        part = 0 if one is None else min(one.points, points, lot.usable)
        left.append((lot, points - part))
        if one is None or not part:
            continue
        act = Act(wallet, new_id(), one.asked, effective_at, one.asked.refund_id or one.asked.bill_id)
        act.move("reverse", "available", "reversed", part, lot)
        one.points -= part
        one.taken += part
        posting = act.done()
        assert posting is not None
        found.append(Recovered(one, posting, one.taken))
    return found, left
