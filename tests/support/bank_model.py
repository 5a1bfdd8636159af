"""The bank as simply as it can be said: wallets with lots, points moved between them by loops, no ledger, no lock, no database.

It shares no code with the service. Tests drive both with the same acts, and compare every balance and every lot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

NEVER = datetime.max.replace(tzinfo=UTC)
LOT = ("available", "held", "reserved", "expired", "reversed", "owed")
WALLET = (
    "issued",
    "held",
    "available",
    "reserved",
    "redeemed",
    "expired",
    "reversed",
    "transferred",
    "adjusted",
    "debt",
)


@dataclass
class ModelLot:
    number: int
    points: int
    earned_at: datetime
    expires_at: datetime | None
    available: int = 0
    held: int = 0
    reserved: int = 0
    expired: int = 0
    reversed: int = 0
    owed: int = 0
    parent: ModelLot | None = None

    def gone(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass
class ModelWallet:
    buckets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WALLET, 0))
    lots: list[ModelLot] = field(default_factory=list)

    def shown(self) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
        """Its balances, and its lots in the order in which they came."""
        return self.buckets, [
            (lot.points, lot.expires_at, *(getattr(lot, part) for part in LOT)) for lot in self.lots
        ]


@dataclass
class ModelAccrual:
    wallet: ModelWallet
    lot: ModelLot
    released: int = 0
    settled: int = 0
    lapsed: int = 0


class ModelBank:
    """All wallets are of one programme."""

    def __init__(self, *, earliest_expiry: bool = False, holds_expire: bool = False) -> None:
        self.earliest_expiry, self.holds_expire = earliest_expiry, holds_expire
        self._numbers = 0

    def _lot(self, wallet: ModelWallet, points: int, at: datetime, until: datetime | None) -> ModelLot:
        self._numbers += 1
        lot = ModelLot(self._numbers, points, at, until)
        wallet.lots.append(lot)
        return lot

    def _move(self, wallet: ModelWallet, lot: ModelLot, source: str, target: str, points: int) -> None:
        if points == 0:
            return
        wallet.buckets[source] -= points
        wallet.buckets[target] += points
        if source in LOT:
            setattr(lot, source, getattr(lot, source) - points)
        if target == "reversed" and source == "debt":
            lot.owed += points
        elif target in LOT:
            setattr(lot, target, getattr(lot, target) + points)

    def _in_order(self, wallet: ModelWallet) -> list[ModelLot]:
        if self.earliest_expiry:
            return sorted(wallet.lots, key=lambda lot: (lot.expires_at or NEVER, lot.earned_at, lot.number))
        return sorted(wallet.lots, key=lambda lot: (lot.earned_at, lot.number))

    def _repay(self, wallet: ModelWallet, lot: ModelLot, came: int, now: datetime) -> None:
        if not lot.gone(now):
            self._move(wallet, lot, "available", "debt", min(came, -wallet.buckets["debt"]))

    def earn(
        self,
        wallet: ModelWallet,
        points: int,
        *,
        at: datetime,
        until: datetime | None,
        held: bool,
        now: datetime,
    ) -> ModelAccrual:
        lot = self._lot(wallet, points, at, until)
        self._move(wallet, lot, "issued", "held" if held else "available", points)
        if not held:
            self._repay(wallet, lot, points, now)
        return ModelAccrual(wallet, lot)

    def open(self, wallet: ModelWallet, points: int, *, at: datetime, until: datetime | None) -> None:
        self._move(wallet, self._lot(wallet, points, at, until), "issued", "available", points)

    def release(self, accrual: ModelAccrual, through: int, *, now: datetime) -> int:
        points = min(max(through - accrual.released, 0), accrual.lot.held)
        self._move(accrual.wallet, accrual.lot, "held", "available", points)
        accrual.released += points
        self._repay(accrual.wallet, accrual.lot, points, now)
        return points

    def reverse(
        self, accrual: ModelAccrual, through: int, *, on_spent: str, now: datetime
    ) -> tuple[int, ...] | None:
        """What was cancelled, reversed, owed, had lapsed, and is missing; None where it was refused."""
        wallet, lot = accrual.wallet, accrual.lot
        if lot.gone(now):
            self._move(wallet, lot, "available", "expired", lot.available)
            if self.holds_expire:
                self._move(wallet, lot, "held", "expired", lot.held)
        left = due = max(min(through, lot.points) - accrual.settled, 0)
        cancelled = min(left, lot.held)
        left -= cancelled
        taken = min(left, lot.available)
        left -= taken
        lapsed = min(left, max(lot.expired - accrual.lapsed, 0))
        left -= lapsed
        if left and on_spent == "block":
            return None
        self._move(wallet, lot, "held", "reversed", cancelled)
        self._move(wallet, lot, "available", "reversed", taken)
        owed = left if on_spent == "debt" else 0
        self._move(wallet, lot, "debt", "reversed", owed)
        accrual.settled += due
        accrual.lapsed += lapsed
        return cancelled, taken, owed, lapsed, left - owed

    def expire(self, wallet: ModelWallet, now: datetime, *, sweep: bool = True) -> int:
        """What was usable goes with its lot; what is held only by a sweep, and where it shall."""
        points = 0
        for lot in wallet.lots:
            if lot.gone(now):
                points += lot.available
                self._move(wallet, lot, "available", "expired", lot.available)
                if self.holds_expire and sweep:
                    points += lot.held
                    self._move(wallet, lot, "held", "expired", lot.held)
        return points

    def _spendable(self, wallet: ModelWallet, now: datetime) -> int:
        return sum(lot.available for lot in wallet.lots if not lot.gone(now))

    def _take(
        self, wallet: ModelWallet, points: int, target: str, now: datetime
    ) -> list[tuple[ModelLot, int]] | None:
        if points > self._spendable(wallet, now):
            return None
        self.expire(wallet, now, sweep=False)
        taken = []
        for lot in self._in_order(wallet):
            part = min(points, lot.available)
            if part:
                taken.append((lot, part))
                self._move(wallet, lot, "available", target, part)
                points -= part
        return taken

    def redeem(self, wallet: ModelWallet, points: int, *, now: datetime) -> bool:
        return self._take(wallet, points, "redeemed", now) is not None

    def overdraw(self, wallet: ModelWallet, points: int, *, now: datetime) -> int:
        """What a till let somebody spend; gives what was not there."""
        there = min(points, self._spendable(wallet, now))
        taken = self._take(wallet, there, "redeemed", now)
        assert taken is not None
        self._move_owed(wallet, points - there)
        return points - there

    @staticmethod
    def _move_owed(wallet: ModelWallet, points: int) -> None:
        wallet.buckets["debt"] -= points
        wallet.buckets["redeemed"] += points

    def adjust(self, wallet: ModelWallet, points: int, *, until: datetime | None, now: datetime) -> bool:
        if points > 0:
            self._move(wallet, self._lot(wallet, points, now, until), "adjusted", "available", points)
            return True
        return self._take(wallet, -points, "adjusted", now) is not None

    def transfer(self, giver: ModelWallet, receiver: ModelWallet, points: int, *, now: datetime) -> bool:
        if giver is receiver:
            return False
        taken = self._take(giver, points, "transferred", now)
        for lot, part in taken or ():
            child = self._lot(receiver, part, now, lot.expires_at)
            child.parent = lot
            self._move(receiver, child, "transferred", "available", part)
        return taken is not None

    def reinstate(self, wallet: ModelWallet, lot: ModelLot, points: int, *, until: datetime | None) -> bool:
        if not 0 < points <= lot.expired:
            return False
        lot.expires_at = until
        self._move(wallet, lot, "expired", "available", points)
        return True
