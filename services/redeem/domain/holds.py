"""Held points: set free in parts, or ended by a reversal (see reversing.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Act, Posting, Value


def release(
    wallet: Wallet,
    lots: Iterable[Lot],
    *,
    released: int,
    release_through: int,
    value: Value,
    effective_at: datetime,
    source_id: UUID | None,
    posting_id: UUID,
    renewed: Callable[[datetime], datetime | None] | None = None,
) -> Posting | None:
    """Sets free what of an accrual's lots is to be available by now and is held still; None where nothing is.

    `release_through` is cumulative and `released` what was released before: a lower target moves nothing, and what a
    reversal ended is released no more. With `renewed`, a lot's expiry counts from its releases: from the one that gives most.
    """
    points = release_through - released
    act = Act(wallet, posting_id, value, effective_at, source_id)
    for lot in in_order(lots):
        part = min(points, lot.held)
        if part <= 0:
            continue
        if renewed is not None:
            lot.expires_at = _renewed(lot, renewed(effective_at))
        act.move("release", "held", "available", part, lot)
        points -= part
    return act.done()


def _renewed(lot: Lot, until: datetime | None) -> datetime | None:
    """When a lot ends whose release says `until` (None: never): not before the end that points released of it earlier were told.
    Before its first release it is nobody's."""
    if lot.held == lot.points - lot.reversed:
        return until
    return None if until is None or lot.expires_at is None else max(until, lot.expires_at)


def over_when_due(lots: Iterable[Lot], now: datetime) -> list[Lot]:
    """The lots whose held points outlived them, and are over as they are set free: nobody could spend them. What silence ends is
    not among them, for a release wakes it."""
    return [lot for lot in lots if lot.held and lot.expires_at is not None and lot.expires_at <= now]


def in_order(lots: Iterable[Lot]) -> list[Lot]:
    """The lots of an accrual as they are gone through: the oldest first, ties by id."""
    return sorted(lots, key=lambda lot: (lot.earned_at, lot.lot_id))
