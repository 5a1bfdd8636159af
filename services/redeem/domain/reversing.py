"""Taking back what a bill earned: what is held first, then what is available; what was spent follows `on_spent`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain.holds import in_order
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Act, Posting, Value
from shared.programme.compiled import OnSpent

BLOCKED = "points_spent"
"""The code of a reversal that `block` refused."""


class Reversal(msgspec.Struct, frozen=True):
    """What a reversal came to; all together they are what was asked for since the last. `lapsed`: points that expired before
    they could be taken back, so that nobody has them and nobody owes them. Nothing moved: no posting."""

    posting: Posting | None = None
    cancelled: int = 0
    reversed: int = 0
    owed: int = 0
    lapsed: int = 0
    shortfall: int = 0

    @property
    def settled(self) -> int:
        """By how much the accrual's target is met now."""
        return self.cancelled + self.reversed + self.owed + self.lapsed + self.shortfall


class Blocked(msgspec.Struct, frozen=True):
    """Points were spent, and the programme lets nobody go below: nothing moved. `shortfall` is what was missing."""

    shortfall: int
    asked: int

    @property
    def detail(self) -> str:
        return f"{self.shortfall} of the {self.asked} points to take back were spent."


def reverse(
    wallet: Wallet,
    lots: Sequence[Lot],
    *,
    earned: int,
    settled: int,
    lapsed: int,
    reverse_through: int,
    on_spent: OnSpent,
    value: Value,
    effective_at: datetime,
    source_id: UUID | None,
    posting_id: UUID,
) -> Reversal | Blocked:
    """Takes back what of an accrual of `earned` points is to be taken back in all by now.

    `lots` are exactly those of the accrual, in the wallet that has them now. `settled` is what earlier reversals came to, and
    `lapsed` the part of it that had expired. Reserved points count as spent. Under `partial` and `debt` what was spent is
    settled with it: a later, higher target does not ask for it again.
    """
    asked = min(reverse_through, earned) - settled
    if asked <= 0:
        return Reversal()
    ordered = in_order(lots)
    cancelled = min(asked, sum(lot.held for lot in ordered))
    usable = min(asked - cancelled, sum(lot.usable for lot in ordered))
    gone = min(asked - cancelled - usable, max(sum(lot.expired for lot in ordered) - lapsed, 0))
    spent = asked - cancelled - usable - gone
    if spent and on_spent == "block":
        return Blocked(spent, asked)
    owed = spent if on_spent == "debt" else 0
    act = Act(wallet, posting_id, value, effective_at, source_id)
    for lot in ordered:
        if part := min(cancelled - _moved(act, "held"), lot.held):
            act.move("cancel_hold", "held", "reversed", part, lot)
    for lot in ordered:
        if part := min(usable - _moved(act, "available"), lot.usable):
            act.move("reverse", "available", "reversed", part, lot)
    for lot, part in _owing(ordered, owed):
        act.move("owe", "debt", "reversed", part, lot)
    return Reversal(act.done(), cancelled, usable, owed, gone, spent - owed)


def _moved(act: Act, bucket: str) -> int:
    return sum(line.points for line in act.lines if line.from_bucket == bucket)


def _owing(lots: Sequence[Lot], owed: int) -> list[tuple[Lot, int]]:
    """Which lots a debt names: those that were spent, the oldest first."""
    parts: list[tuple[Lot, int]] = []
    for lot in lots:
        spent = lot.points - lot.remaining - lot.expired - lot.reversed - lot.owed + lot.reserved
        part = min(owed, max(spent, 0))
        if part:
            parts.append((lot, part))
            owed -= part
    assert not owed, f"{owed} points were spent of no lot"
    return parts
