"""A wallet as the model of the bank keeps it: its lots, its moves, and what was taken of it. It shares no code with the service."""

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
    released: int = 0
    parent: ModelLot | None = None
    renews: ModelLot | None = None
    """Points of that lot came back to this one, to live longer; it is still the same accrual's."""
    accrual: ModelAccrual | None = None
    went: list[list[Any]] = field(default_factory=list)
    """When what of it expired that had been usable, and how much of that did not come back for who had spent it before."""

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
    active_at: datetime | None = None
    """When points came last, or were spent or given away."""

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


def root(lot: ModelLot) -> ModelLot:
    """The lot whose points came back to this one, however often."""
    while lot.renews is not None:
        lot = lot.renews
    return lot
