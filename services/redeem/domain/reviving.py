"""What had expired by the time that somebody tells what was spent before: that a sweep came by first makes no difference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Act, Posting, Value


class Went(msgspec.Struct):
    """So many usable points of a lot expired at that moment, and have not come back to it since."""

    wallet_id: UUID
    lot_id: UUID
    at: datetime
    points: int


def revive(
    wallet: Wallet,
    went: Iterable[Went],
    *,
    points: int,
    at: datetime,
    order: Callable[[Lot], Any],
    value: Value,
    source_id: UUID,
    new_id: Callable[[], UUID],
) -> Posting | None:
    """Brings back what of so many points, spent at that moment in this order, would be taken of what expired after it; None where
    nothing would. The caller spends it at once: no lot gets another expiry.

    Each line is effective when the points expired: they were there until then, and no past balance is below zero. `went` is counted
    down, and the wallet's lots hold those that it names.
    """
    lost: dict[UUID, list[Went]] = defaultdict(list)
    for one in went:
        if one.at > at and one.points:
            lost[one.lot_id].append(one)
    act, active_at = Act(wallet, new_id(), value, at, source_id), wallet.last_active_at
    for lot in sorted([lot for lot in wallet.lots if lot.usable or lot.lot_id in lost], key=order):
        usable = lot.usable
        for one in lost.get(lot.lot_id, ()):
            back = min(points, one.points, lot.expired)
            if back:
                act.move("reinstate", "expired", "available", back, lot, effective_at=one.at)
                one.points -= back
                points -= back
        points -= min(points, usable)
        if not points:
            break
    # Its member did nothing when they expired: what was spent of them is the act.
    wallet.last_active_at = active_at
    return act.done()
