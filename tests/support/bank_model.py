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
    renews: ModelLot | None = None
    """Points of that lot came back to this one, to live longer; it is still the same accrual's."""
    accrual: ModelAccrual | None = None

    def gone(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass
class ModelWallet:
    buckets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WALLET, 0))
    lots: list[ModelLot] = field(default_factory=list)
    lines: list[tuple[str, str, int]] = field(default_factory=list)
    """Every move there was: from which bucket to which, and how many points."""
    named: dict[int, ModelLot] = field(default_factory=dict)
    """The lots that its moves named, in the order in which they first did: a spent lot of a merged wallet is not among them."""

    def shown(self) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
        """Its balances, and its lots in the order in which they came."""
        return self.buckets, [
            (lot.points, lot.expires_at, *(getattr(lot, part) for part in LOT)) for lot in self.lots
        ]


@dataclass
class ModelAccrual:
    wallet: ModelWallet
    lots: list[ModelLot]
    released: int = 0
    settled: int = 0
    lapsed: int = 0
    short: int = 0
    """What could not be taken back, and is if it ever comes back."""


@dataclass
class ModelPart:
    """What was taken of a lot; without a lot what was overdrawn."""

    lot: ModelLot | None
    lent: int
    captured: int = 0
    returned: int = 0


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

    def _move(self, wallet: ModelWallet, lot: ModelLot | None, source: str, target: str, points: int) -> None:
        if points == 0:
            return
        wallet.lines.append((source, target, points))
        wallet.buckets[source] -= points
        wallet.buckets[target] += points
        if lot is None:
            return
        wallet.named.setdefault(lot.number, lot)
        if source in LOT:
            setattr(lot, source, getattr(lot, source) - points)
        if target == "reversed" and source == "debt":
            lot.owed += points
        elif target in LOT:
            setattr(lot, target, getattr(lot, target) + points)

    def in_order(self, wallet: ModelWallet) -> list[ModelLot]:
        if self.earliest_expiry:
            return sorted(wallet.lots, key=lambda lot: (lot.expires_at or NEVER, lot.earned_at, lot.number))
        return sorted(wallet.lots, key=lambda lot: (lot.earned_at, lot.number))

    def _repay(self, wallet: ModelWallet, lot: ModelLot, came: int, now: datetime) -> None:
        if not lot.gone(now):
            self._move(wallet, lot, "available", "debt", min(came, -wallet.buckets["debt"]))

    def merge(self, ended: ModelWallet, heir: ModelWallet, *, now: datetime) -> None:
        """All that the one has is the other's; its accruals have to be told so too."""
        for wallet in (ended, heir):
            self.expire(wallet, now, sweep=False)
        for lot in sorted(ended.lots, key=lambda lot: (lot.earned_at, lot.number)):
            parts = [(part, getattr(lot, part)) for part in ("available", "held", "reserved")]
            moved = [("transferred", part, points) for part, points in parts if points]
            heir.lines += moved
            if moved:
                heir.named.setdefault(lot.number, lot)
        for bucket in ("reversed", "issued", "redeemed", "expired", "adjusted", "debt"):
            points = ended.buckets[bucket]
            if points:
                way = ("transferred", bucket) if points > 0 else (bucket, "transferred")
                heir.lines.append((*way, abs(points)))
        for bucket in WALLET:
            heir.buckets[bucket] += ended.buckets[bucket]
            ended.buckets[bucket] = 0
        heir.lots += ended.lots
        ended.lots = []
        for lot in self.in_order(heir):
            self._repay(heir, lot, lot.available, now)

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
        return self.earn_lots(wallet, [(points, until)], at=at, held=held, now=now)

    def earn_lots(
        self,
        wallet: ModelWallet,
        lots: list[tuple[int, datetime | None]],
        *,
        at: datetime,
        held: bool,
        now: datetime,
    ) -> ModelAccrual:
        """An accrual of several lots: (points, expiry)."""
        accrual = ModelAccrual(wallet, [self._lot(wallet, points, at, until) for points, until in lots])
        for lot in accrual.lots:
            lot.accrual = accrual
            self._move(wallet, lot, "issued", "held" if held else "available", lot.points)
        if not held:
            for lot in accrual.lots:
                self._repay(wallet, lot, lot.points, now)
        return accrual

    def open(self, wallet: ModelWallet, points: int, *, at: datetime, until: datetime | None) -> None:
        self._move(wallet, self._lot(wallet, points, at, until), "issued", "available", points)

    def release(
        self, accrual: ModelAccrual, through: int, *, now: datetime, renewed: datetime | None = None
    ) -> int:
        """What is over goes first, held points too where they are due. `renewed`: when the lots end from now on, where their time
        runs from a release."""
        due = max(through - accrual.released, 0)
        holds = self.holds_expire or (due > 0 and renewed is None)
        self._expire(accrual.wallet, self._own(accrual), now, holds=holds)
        came = []
        for lot in accrual.lots:
            part = min(due, lot.held)
            if part and renewed is not None:
                lot.expires_at = renewed
            self._move(accrual.wallet, lot, "held", "available", part)
            due -= part
            came.append((lot, part))
        for lot, part in came:
            self._repay(accrual.wallet, lot, part, now)
        points = sum(part for _, part in came)
        accrual.released += points
        return points

    def reverse(
        self, accrual: ModelAccrual, through: int, *, on_spent: str, now: datetime
    ) -> tuple[int, ...] | None:
        """What was cancelled, reversed, owed, had lapsed, and is missing; None where it was refused."""
        wallet, lots = accrual.wallet, self._own(accrual)
        self._expire(wallet, lots, now, holds=self.holds_expire)
        left = due = max(min(through, sum(lot.points for lot in accrual.lots)) - accrual.settled, 0)
        cancelled = min(left, sum(lot.held for lot in lots))
        left -= cancelled
        taken = min(left, sum(lot.available for lot in lots))
        left -= taken
        lapsed = min(left, max(sum(lot.expired for lot in lots) - accrual.lapsed, 0))
        left -= lapsed
        if left and on_spent == "block":
            return None
        owed = left if on_spent == "debt" else 0
        for source, points in (("held", cancelled), ("available", taken)):
            rest = points
            for lot in lots:
                part = min(rest, getattr(lot, source))
                self._move(wallet, lot, source, "reversed", part)
                rest -= part
        points = owed
        for lot in lots:
            spent = lot.points - lot.available - lot.held - lot.expired - lot.reversed - lot.owed
            part = max(min(points, spent), 0)
            self._move(wallet, lot, "debt", "reversed", part)
            points -= part
        accrual.settled += due
        accrual.lapsed += lapsed
        accrual.short += left - owed
        return cancelled, taken, owed, lapsed, left - owed

    @staticmethod
    def _own(accrual: ModelAccrual) -> list[ModelLot]:
        """The accrual's lots and what renewing returns made of them, the oldest first."""
        own = [lot for lot in accrual.wallet.lots if _root(lot).accrual is accrual]
        return sorted(own, key=lambda lot: (lot.earned_at, lot.number))

    def expire(self, wallet: ModelWallet, now: datetime, *, sweep: bool = True) -> int:
        """What was usable goes with its lot; what is held only by a sweep, and where it shall."""
        return self._expire(wallet, wallet.lots, now, holds=self.holds_expire and sweep)

    def _expire(self, wallet: ModelWallet, lots: list[ModelLot], now: datetime, *, holds: bool) -> int:
        points = 0
        due = [lot for lot in lots if lot.gone(now)]
        for lot in sorted(due, key=lambda lot: (lot.expires_at or NEVER, lot.earned_at, lot.number)):
            for part in ("available", "held") if holds else ("available",):
                points += getattr(lot, part)
                self._move(wallet, lot, part, "expired", getattr(lot, part))
        return points

    def spendable(self, wallet: ModelWallet, now: datetime) -> int:
        return sum(lot.available for lot in wallet.lots if not lot.gone(now))

    def _take(
        self, wallet: ModelWallet, points: int, target: str, now: datetime
    ) -> list[tuple[ModelLot, int]] | None:
        if points > self.spendable(wallet, now):
            return None
        self.expire(wallet, now, sweep=False)
        taken = []
        for lot in self.in_order(wallet):
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
        there = min(points, self.spendable(wallet, now))
        return sum(part.captured for part in self.let(wallet, points, there, now=now) if part.lot is None)

    def let(self, wallet: ModelWallet, points: int, there: int, *, now: datetime) -> list[ModelPart]:
        """What a till let somebody spend, of which so much was there."""
        taken = self._take(wallet, there, "redeemed", now) or []
        parts = [ModelPart(lot, part, captured=part) for lot, part in taken]
        if points > there:
            self._move(wallet, None, "debt", "redeemed", points - there)
            parts.append(ModelPart(None, points - there, captured=points - there))
        return parts

    def spend(
        self, wallet: ModelWallet, points: int, *, later: bool, now: datetime
    ) -> list[ModelPart] | None:
        """What a redemption takes, or sets aside for a capture; None where there is not so much."""
        taken = self._take(wallet, points, "reserved" if later else "redeemed", now)
        if taken is None:
            return None
        return [ModelPart(lot, part, captured=0 if later else part) for lot, part in taken]

    def capture(self, wallet: ModelWallet, parts: list[ModelPart], points: int, *, now: datetime) -> int:
        """Spends so much of what was set aside, and gives the rest back; what of that expired at once."""
        for part in parts:
            part.captured = min(points, part.lent)
            points -= part.captured
            self._move(wallet, part.lot, "reserved", "redeemed", part.captured)
        return self._void(wallet, parts, now)

    def void(self, wallet: ModelWallet, parts: list[ModelPart], *, now: datetime) -> int:
        """Gives back what was set aside; what of it expired at once."""
        return self._void(wallet, parts, now)

    def _void(self, wallet: ModelWallet, parts: list[ModelPart], now: datetime) -> int:
        came = []
        for part in parts:
            if part.lot is not None and part.lent > part.captured:
                self._move(wallet, part.lot, "reserved", "available", part.lent - part.captured)
                came.append((part.lot, part.lent - part.captured))
        return self._came_back(wallet, came, now)

    def give_back(
        self,
        wallet: ModelWallet,
        parts: list[ModelPart],
        points: int,
        *,
        renewed: bool,
        until: datetime | None,
        at: datetime,
        now: datetime,
    ) -> int:
        """Returns so much of what was spent, last taken first; what of it expired at once. `until`: the expiry of points that
        are earned at that moment, for those that are renewed and those that were in no lot."""
        came = []
        for part in reversed(parts):
            some = min(points, part.captured - part.returned)
            if not some:
                continue
            points -= some
            part.returned += some
            lot = part.lot
            if lot is None:
                lot = self._lot(wallet, some, at, until)
            elif renewed and lot.expires_at is not None and (until is None or until > lot.expires_at):
                lot = self._lot(wallet, some, at, until)
                lot.renews = part.lot
            self._move(wallet, lot, "redeemed", "available", some)
            came.append((lot, some))
        return self._came_back(wallet, came, now)

    def _came_back(self, wallet: ModelWallet, came: list[tuple[ModelLot, int]], now: datetime) -> int:
        """What came back to lots that are gone goes with them; refunds that were short, then debts, take of the rest."""
        expired = 0
        for lot, points in came:
            if lot.gone(now):
                expired += points
                self._move(wallet, lot, "available", "expired", points)
        left = []
        for lot, points in came:
            if lot.gone(now):
                continue
            accrual, part = _root(lot).accrual, 0
            if accrual is not None:
                part = min(accrual.short, points)
                accrual.short -= part
                self._move(wallet, lot, "available", "reversed", part)
            left.append((lot, points - part))
        for lot, points in left:
            self._repay(wallet, lot, points, now)
        return expired

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

    def may_come_back(self, lot: ModelLot, points: int, *, until: datetime | None, now: datetime) -> bool:
        """Whether so many expired points of a lot may live again until then: not with others that would live longer or shorter."""
        others = lot.available > 0 and not lot.gone(now)
        shorter = others and (until or NEVER) < (lot.expires_at or NEVER)
        ends = until is not None and until <= now
        return not (lot.reserved or lot.held or points > lot.expired or ends or shorter)

    def bring_back(
        self, wallet: ModelWallet, lot: ModelLot, points: int, *, until: datetime | None, now: datetime
    ) -> bool:
        """Brings so many expired points back; what nobody swept of the lot does not come with them."""
        if not self.may_come_back(lot, points, until=until, now=now):
            return False
        self._expire(wallet, [lot], now, holds=False)
        return self.reinstate(wallet, lot, points, until=until)

    def reinstate(self, wallet: ModelWallet, lot: ModelLot, points: int, *, until: datetime | None) -> bool:
        if not 0 < points <= lot.expired:
            return False
        lot.expires_at = until
        self._move(wallet, lot, "expired", "available", points)
        return True


def _root(lot: ModelLot) -> ModelLot:
    while lot.renews is not None:
        lot = lot.renews
    return lot
