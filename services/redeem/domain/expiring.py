"""Points at the end of their life: expired lot by lot, each at its own instant; told of before; brought back by a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Act, Posting, Value
from services.redeem.domain.spendable import expired_lots
from shared.errors import AmountOutOfRange
from shared.programme.expiry import horizon

_NEVER = datetime.max.replace(tzinfo=UTC)


def expire(
    wallet: Wallet,
    *,
    terms: Value,
    now: datetime,
    new_id: Callable[[], UUID],
    holds_expire: bool = False,
    lots: Iterable[Lot] | None = None,
) -> Posting | None:
    """Expires what is usable of the loaded lots, or of these `lots` alone, that are past their expiry, each at its own instant;
    None if nothing is due.

    With `holds_expire` what is held dies with its lot, else it lives on until it is released or cancelled. What is reserved
    waits for its capture or void.
    """
    expired = expired_lots(wallet.lots if lots is None else lots, now)
    due = sorted([lot for lot in expired if due_of(lot, now, holds_expire)], key=earliest_expiry)
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
    return act.done(silenced_by=silenced_by(wallet, due))


def silenced_by(wallet: Wallet, lots: Iterable[Lot]) -> int | None:
    """The version by which silence ended any of these lots, which are due; None: each came to its own end."""
    ended_at = next((lot.idle_at for lot in lots if lot.silenced), None)
    return None if ended_at is None or wallet.silence is None else wallet.silence.version_at(ended_at)


def due_of(lot: Lot, now: datetime, holds_expire: bool = False) -> int:
    """How many points of the lot expire by now, if it is gone through."""
    if not lot.expired_by(now):
        return 0
    return lot.usable + (lot.held if holds_expire else 0)


def check_reinstatement(lot: Lot, *, points: int, expires_at: datetime | None, now: datetime) -> None:
    """Refuses, as amount_out_of_range, more than has expired of the lot, an end that has come, and an end that would not be that of
    the points alone that come back: all that is in a lot shares its expiry."""
    if lot.reserved or lot.held:
        raise AmountOutOfRange(
            f"{lot.reserved} points of the lot are set aside and {lot.held} are held: they would live on with it. Wait until none "
            "are, or ask for an adjustment.",
            pointer="/lot_id",
        )
    if points > lot.expired:
        raise AmountOutOfRange(f"{lot.expired} points of the lot have expired.", pointer="/points")
    if expires_at is not None and expires_at <= now:
        raise AmountOutOfRange("It would expire at once. Name a later moment.", pointer="/expires_at")
    if lot.usable and not lot.expired_by(now) and (expires_at or _NEVER) < (lot.expires_at or _NEVER):
        stay = f"until {lot.expires_at:%Y-%m-%dT%H:%M:%SZ}" if lot.expires_at else "for ever"
        raise AmountOutOfRange(
            f"{lot.usable} points of the lot can be spent {stay}. Name no earlier moment.",
            pointer="/expires_at",
        )


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
    """Notes when the whole balance expires, on each lot that was loaded or opened; None: not for its member's silence."""
    wallet.idle_at = idle_at
    for lot in wallet.lots:
        lot.idle_at = idle_at


def wake(wallet: Wallet, *, at: datetime, value: Value, new_id: Callable[[], UUID]) -> Posting | None:
    """Its member did something at that moment: what had expired of a wallet before it, for it was left alone. An act that
    happened before the end, and is only told late, moves the end: then nothing expires yet."""
    if wallet.idle_at is None or (silence := wallet.silence) is None:
        return None
    expired = None
    if at >= wallet.idle_at:
        expired = expire(wallet, terms=value, now=at, new_id=new_id, holds_expire=wallet.idle_holds)
    mark_idle(wallet, silence.ends_at(max(at, wallet.last_active_at or at)))
    return expired


def backdate(wallet: Wallet, now: datetime, *, active_at: datetime) -> None:
    """Its member was last active at that moment, or after it as far as is known here: where that is so long ago that the balance
    has ended by now, notes it. What was there has been woken; of programmes without such an end nothing is noted."""
    wallet.last_active_at = max(wallet.last_active_at or active_at, active_at)
    if wallet.silence is None:
        return
    ends = wallet.silence.ends_at(wallet.last_active_at)
    if (ends is not None and ends <= now) or wallet.idle_at is not None:
        mark_idle(wallet, ends)


class Notice(msgspec.Struct, frozen=True):
    """That points expire then; it is told on the notice of so many days before."""

    expires_at: datetime
    days: int
    points: int


def notices(lots: Iterable[Lot], now: datetime, notice_days: tuple[int, ...], zone: ZoneInfo) -> list[Notice]:
    """What is to be told now of these lots: for each instant at which some expire, the nearest notice that has come.

    `notice_days` ascend. A notice of n days comes with the first instant of the day that lies n days before, in this zone.
    """
    expiring: dict[datetime, int] = {}
    for lot in lots:
        if lot.dies_at is not None and lot.dies_at > now and lot.usable:
            expiring[lot.dies_at] = expiring.get(lot.dies_at, 0) + lot.usable
    found = []
    for expires_at, points in sorted(expiring.items()):
        days = next((days for days in notice_days if expires_at <= horizon(now, days, zone)), None)
        if days is not None:
            found.append(Notice(expires_at, days, points))
    return found


def earliest_expiry(lot: Lot) -> tuple[datetime, datetime, UUID]:
    """The sort key of lots by their end: never-expiring last, ties by oldest."""
    return lot.dies_at or _NEVER, lot.earned_at, lot.lot_id


oldest_earned: Callable[[Lot], Any] = attrgetter("earned_at", "lot_id")
"""The sort key of lots by their age."""

_ORDERS: dict[str, Callable[[Lot], Any]] = {
    "oldest_earned": oldest_earned,
    "earliest_expiry": earliest_expiry,
}


def consumption_order(consumption: str) -> Callable[[Lot], Any]:
    """The sort key in which lots are spent: `oldest_earned`, or `earliest_expiry` (never-expiring last, ties by oldest)."""
    return _ORDERS[consumption]
