"""Points at the end of their life: expired lot by lot, each at its own instant; told of before; brought back by a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Act, Posting, Value

_NEVER = datetime.max.replace(tzinfo=UTC)


def expire(
    wallet: Wallet,
    *,
    terms: Value,
    now: datetime,
    new_id: Callable[[], UUID],
    holds_expire: bool = False,
) -> Posting | None:
    """Expires what is usable of the loaded lots that are past their expiry, each at its own instant; None if nothing is due.

    With `holds_expire` what is held dies with its lot, else it lives on until it is released or cancelled. What is reserved
    waits for its capture or void.
    """
    due = sorted((lot for lot in wallet.lots if due_of(lot, now, holds_expire)), key=earliest_expiry)
    if not due:
        return None
    act = Act(wallet, new_id(), terms, now)
    for lot in due:
        if lot.usable:
            act.move(
                "expire",
                "available",
                "expired",
                lot.usable,
                lot,
                effective_at=lot.dies_at,
                source_id=lot.source_id,
            )
        if holds_expire and lot.held:
            act.move(
                "expire", "held", "expired", lot.held, lot, effective_at=lot.dies_at, source_id=lot.source_id
            )
    return act.done()


def due_of(lot: Lot, now: datetime, holds_expire: bool = False) -> int:
    """How many points of the lot expire by now, if it is gone through."""
    if not lot.expired_by(now):
        return 0
    return lot.usable + (lot.held if holds_expire else 0)


def reinstate(
    wallet: Wallet,
    lot: Lot,
    *,
    points: int,
    expires_at: datetime | None,
    value: Value,
    effective_at: datetime,
    source_id: UUID,
    posting_id: UUID,
) -> Posting:
    """Brings expired points of a lot back, with a new expiry of the lot. `points` of it must have expired."""
    assert points <= lot.expired, (lot.lot_id, points, lot.expired)
    act = Act(wallet, posting_id, value, effective_at, source_id)
    lot.expires_at = expires_at
    act.move("reinstate", "expired", "available", points, lot)
    posting = act.done()
    assert posting is not None
    return posting


def mark_idle(wallet: Wallet, idle_at: datetime | None) -> None:
    """Notes when the whole balance expires, on each lot that was loaded; None: it does not, for its member was active."""
    wallet.idle_at = idle_at
    for lot in wallet.lots:
        lot.idle_at = idle_at


def expiring(lots: Iterable[Lot], now: datetime) -> dict[datetime, int]:
    """What of these lots will expire, and when."""
    found: dict[datetime, int] = {}
    for lot in lots:
        if lot.dies_at is not None and lot.dies_at > now and lot.usable:
            found[lot.dies_at] = found.get(lot.dies_at, 0) + lot.usable
    return found


def earliest_expiry(lot: Lot) -> tuple[datetime, datetime, UUID]:
    """The sort key of lots by their end: never-expiring last, ties by oldest."""
    return lot.dies_at or _NEVER, lot.earned_at, lot.lot_id


def oldest_earned(lot: Lot) -> tuple[datetime, UUID]:
    """The sort key of lots by their age."""
    return lot.earned_at, lot.lot_id


def consumption_order(consumption: str) -> Callable[[Lot], Any]:
    """The sort key in which lots are spent: `oldest_earned`, or `earliest_expiry` (never-expiring last, ties by oldest)."""
    return {"oldest_earned": oldest_earned, "earliest_expiry": earliest_expiry}[consumption]
