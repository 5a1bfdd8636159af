"""The bank as simply as it can be said: wallets with lots, points moved between them by loops, no ledger, no lock, no database.

It shares no code with the service. Tests drive both with the same acts, and compare every balance and every lot.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from tests.support.models.ends import Ends
from tests.support.models.late import bring_back
from tests.support.models.wallet import (
    LOT,
    NEVER,
    WALLET,
    ModelAccrual,
    ModelLot,
    ModelPart,
    ModelWallet,
    root,
)


class ModelBank(Ends):
    """All wallets are of one programme. `silence_ends`: when a whole balance ends whose member did something last at a moment."""

    def __init__(
        self,
        *,
        earliest_expiry: bool = False,
        holds_expire: bool = False,
        silence_ends: Callable[[datetime], datetime] | None = None,
    ) -> None:
        self.earliest_expiry, self.holds_expire = earliest_expiry, holds_expire
        super().__init__(silence_ends)
        self._numbers = 0

    # ---- what silence ends

    def wake(self, wallet: ModelWallet, at: datetime) -> None:
        """Somebody comes: what silence had ended by then goes first, held points too where holds die."""
        if self.silent(wallet, at):
            self._expire(wallet, wallet.lots, at, holds=self.holds_expire)

    def _acts(self, wallet: ModelWallet, at: datetime) -> None:
        """Its member did something; what is told late moves no end back."""
        wallet.active_at = max(wallet.active_at or at, at)

    def _comes(self, wallet: ModelWallet, at: datetime) -> None:
        self.wake(wallet, at)
        self._acts(wallet, at)

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
        if not self.dead(wallet, lot, now):
            self._move(wallet, lot, "available", "debt", min(came, -wallet.buckets["debt"]))

    def merge(self, ended: ModelWallet, heir: ModelWallet, *, now: datetime) -> None:
        """All that the one has is the other's; its accruals have to be told so too."""
        for wallet in (ended, heir):
            holds = self.holds_expire and self.silent(wallet, now)
            self._expire(wallet, wallet.lots, now, holds=holds)
        heir.active_at = max(filter(None, (ended.active_at, heir.active_at)), default=None)
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
        self._comes(wallet, at)
        accrual = ModelAccrual(wallet, [self._lot(wallet, points, at, until) for points, until in lots])
        for lot in accrual.lots:
            lot.accrual = accrual
            self._move(wallet, lot, "issued", "held" if held else "available", lot.points)
        if not held:
            for lot in accrual.lots:
                self._repay(wallet, lot, lot.points, now)
        return accrual

    def open(self, wallet: ModelWallet, points: int, *, at: datetime, until: datetime | None) -> None:
        self._comes(wallet, at)
        self._move(wallet, self._lot(wallet, points, at, until), "issued", "available", points)

    def release(
        self, accrual: ModelAccrual, through: int, *, now: datetime, renewed: datetime | None = None
    ) -> int:
        """What is over goes first, held points too where they are due. `renewed`: when what is released now would end, where
        the time of lots runs from their releases: what was released of one before ends no earlier by it."""
        self.wake(accrual.wallet, now)
        due = max(through - accrual.released, 0)
        holds = self.holds_expire or (due > 0 and renewed is None)
        self._expire(accrual.wallet, self._own(accrual), now, holds=holds)
        came = []
        for lot in accrual.lots:
            part = min(due, lot.held)
            kept = lot.released and (lot.expires_at is None or renewed is None or lot.expires_at >= renewed)
            if part and renewed is not None and not kept:
                lot.expires_at = renewed
            lot.released += part
            self._move(accrual.wallet, lot, "held", "available", part)
            due -= part
            came.append((lot, part))
        points = sum(part for _, part in came)
        if points:
            self._acts(accrual.wallet, now)
        for lot, part in came:
            self._repay(accrual.wallet, lot, part, now)
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
        own = [lot for lot in accrual.wallet.lots if root(lot).accrual is accrual]
        return sorted(own, key=lambda lot: (lot.earned_at, lot.number))

    def expire(self, wallet: ModelWallet, now: datetime, *, sweep: bool = True) -> int:
        """What was usable goes with its lot; what is held only by a sweep, and where it shall."""
        return self._expire(wallet, wallet.lots, now, holds=self.holds_expire and sweep)

    def _expire(self, wallet: ModelWallet, lots: list[ModelLot], now: datetime, *, holds: bool) -> int:
        points = 0
        due = [lot for lot in lots if self.dead(wallet, lot, now)]
        whole = self.ends_at(wallet) or NEVER
        for lot in sorted(
            due, key=lambda lot: (min(lot.expires_at or NEVER, whole), lot.earned_at, lot.number)
        ):
            lot.went.append([min(lot.expires_at or NEVER, whole), lot.available])
            for part in ("available", "held") if holds else ("available",):
                points += getattr(lot, part)
                self._move(wallet, lot, part, "expired", getattr(lot, part))
        return points

    def spendable(self, wallet: ModelWallet, now: datetime) -> int:
        return sum(lot.available for lot in wallet.lots if not self.dead(wallet, lot, now))

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
        return self.spend(wallet, points, later=False, now=now) is not None

    def overdraw(self, wallet: ModelWallet, points: int, *, now: datetime) -> int:
        """What a till let somebody spend; gives what was not there."""
        return sum(part.captured for part in self.let(wallet, points, now=now) if part.lot is None)

    def let(self, wallet: ModelWallet, points: int, *, now: datetime) -> list[ModelPart]:
        """What a till let somebody spend then, and what was not there; what expired since was."""
        self._comes(wallet, now)
        self.expire(wallet, now, sweep=False)
        back = partial(self._move, wallet, source="expired", target="available")
        bring_back(self.in_order(wallet), points, now, lambda lot, some: back(lot=lot, points=some))
        there = min(points, self.spendable(wallet, now))
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
        self._acts(wallet, now)
        return [ModelPart(lot, part, captured=0 if later else part) for lot, part in taken]

    def capture(self, wallet: ModelWallet, parts: list[ModelPart], points: int, *, now: datetime) -> int:
        """Spends so much of what was set aside, and gives the rest back; what of that expired at once."""
        self._comes(wallet, now)
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
        return self._came_back(wallet, came, now, since=now)

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
        if not points:
            return 0
        self._comes(wallet, at)
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
        return self._came_back(wallet, came, now, since=at)

    def _came_back(
        self, wallet: ModelWallet, came: list[tuple[ModelLot, int]], now: datetime, *, since: datetime
    ) -> int:
        """What came back to lots that are gone goes with them; refunds that were short, then debts, take of the rest."""
        expired = 0
        for lot, points in came:
            if self.dead(wallet, lot, now):
                expired += points
                ended = min(lot.expires_at or NEVER, self.ends_at(wallet) or NEVER)
                if ended > since:
                    lot.went.append([ended, points])
                self._move(wallet, lot, "available", "expired", points)
        left = []
        for lot, points in came:
            if self.dead(wallet, lot, now):
                continue
            accrual, part = root(lot).accrual, 0
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
            self._comes(wallet, now)
            self._move(wallet, self._lot(wallet, points, now, until), "adjusted", "available", points)
            return True
        return self._take(wallet, -points, "adjusted", now) is not None

    def transfer(self, giver: ModelWallet, receiver: ModelWallet, points: int, *, now: datetime) -> bool:
        if giver is receiver:
            return False
        taken = self._take(giver, points, "transferred", now)
        if taken is not None:
            self._acts(giver, now)
            self._comes(receiver, now)
        for lot, part in taken or ():
            child = self._lot(receiver, part, now, lot.expires_at)
            child.parent = lot
            self._move(receiver, child, "transferred", "available", part)
        return taken is not None

    def may_come_back(
        self, wallet: ModelWallet, lot: ModelLot, points: int, *, until: datetime | None, now: datetime
    ) -> bool:
        """Whether so many expired points of a lot may live again until then: not with others that would live longer or shorter."""
        others = lot.available > 0 and not self.dead(wallet, lot, now)
        shorter = others and (until or NEVER) < (lot.expires_at or NEVER)
        ends = until is not None and until <= now
        return not (lot.reserved or lot.held or points > lot.expired or ends or shorter)

    def bring_back(
        self, wallet: ModelWallet, lot: ModelLot, points: int, *, until: datetime | None, now: datetime
    ) -> bool:
        """Brings so many expired points back; what nobody swept of the lot does not come with them."""
        if not self.may_come_back(wallet, lot, points, until=until, now=now):
            return False
        self._comes(wallet, now)
        self._expire(wallet, [lot], now, holds=False)
        return self.reinstate(wallet, lot, points, until=until)

    def reinstate(self, wallet: ModelWallet, lot: ModelLot, points: int, *, until: datetime | None) -> bool:
        if not 0 < points <= lot.expired:
            return False
        lot.expires_at = until
        self._move(wallet, lot, "expired", "available", points)
        return True
