"""The ledger's arithmetic: what a wallet is, how a line moves points in it, and the bytes that are hashed.

docs/ledger.md is the specification of the bytes; an independent verifier is written from it, so the two change together.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Literal
from uuid import UUID

import msgspec

from services.redeem.domain.silence import Silence

Bucket = Literal[
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
]
Kind = Literal[
    "earn",
    "earn_held",
    "release",
    "cancel_hold",
    "reserve",
    "void",
    "redeem",
    "return",
    "expire",
    "reinstate",
    "reverse",
    "transfer",
    "adjust",
    "owe",
    "overdraw",
    "repay",
    "opening",
    "merge",
]

# The codes stand in hashed bytes: they are added to, never changed.
BUCKETS: dict[Bucket, int] = {
    "issued": 1,
    "held": 2,
    "available": 3,
    "reserved": 4,
    "redeemed": 5,
    "expired": 6,
    "reversed": 7,
    "transferred": 8,
    "adjusted": 9,
    "debt": 10,
}
KINDS: dict[Kind, int] = {
    "earn": 1,
    "earn_held": 2,
    "release": 3,
    "cancel_hold": 4,
    "reserve": 5,
    "void": 6,
    "redeem": 7,
    "return": 8,
    "expire": 9,
    "reinstate": 10,
    "reverse": 11,
    "transfer": 12,
    "adjust": 13,
    "owe": 14,
    "overdraw": 15,
    "repay": 16,
    "opening": 17,
    "merge": 18,
}

IN_LOTS = frozenset({"available", "held", "reserved"})
"""The buckets whose points lie in lots."""

ACTIVE = frozenset({"available", "held", "reserved", "redeemed", "transferred"})
"""A wallet is active when points come to it, or are spent or given: with each line into one of these, but for `PASSIVE` kinds."""

PASSIVE = frozenset({"void", "merge"})
"""What went back, and what another wallet of the same person had: nobody came, spent or gave."""

GENESIS = bytes(32)
"""The hash before a wallet's first line."""

_VERSION = 1
_NIL = bytes(16)
_PACK = struct.Struct(">B32s16sQ16sBBBqq16s16sqqqqqq").pack
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEP = timedelta(microseconds=1)
_MOST_BEHIND = timedelta(seconds=5)
_CATCHES_UP = timedelta(minutes=1)
_DECIDED_AFTER = timedelta(seconds=1)
"""So much later than a wallet's lock its batch may be decided, for its last locks were waited for. Far less than `_MOST_BEHIND`:
the next line's clock may stand before this one."""


class ClockBehind(Exception):
    """PostgreSQL's clock stands more than five seconds behind a wallet's last line: a fault, never decided over."""

    guard = "clock_behind"


class ClockCatchingUp(ClockBehind, OSError):
    """It stands behind by less than a minute, as after a failover to a server whose clock is late. An OSError, for the
    lane to try again until it has caught up; by more, only the wallet itself can be wrong, and others need not wait."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """One row of the ledger, hashed; the fields stand in the order of the table's columns."""

    wallet_id: UUID
    seq: int
    posting_id: UUID
    posted_at: datetime
    effective_at: datetime
    points: int
    money_minor: int
    available_after: int
    held_after: int
    reserved_after: int
    debt_after: int
    lot_id: UUID | None
    source_id: UUID | None
    kind: Kind
    from_bucket: Bucket
    to_bucket: Bucket
    hash: bytes


class Lot(msgspec.Struct):
    """Points earned together. `remaining` counts those held and reserved too; `expires_at` None: never.

    `idle_at`: when the whole balance of its wallet expires, where the wallet was left alone for so long. `expired`, `reversed`
    and `owed` are what became of points that left it; they are known only where a decision needs them, so that what is
    written of them is the difference that this batch makes (`more_expired` and so on).
    """

    lot_id: UUID
    wallet_id: UUID
    accrual_id: UUID
    source_id: UUID | None
    earned_at: datetime
    expires_at: datetime | None
    points: int
    remaining: int
    held: int = 0
    reserved: int = 0
    parent_lot: UUID | None = None
    given: bool = False
    expired: int = 0
    reversed: int = 0
    owed: int = 0
    idle_at: datetime | None = None
    more_expired: int = 0
    more_reversed: int = 0
    more_owed: int = 0

    @property
    def usable(self) -> int:
        """What of it is in the wallet's `available`."""
        return self.remaining - self.held - self.reserved

    def expired_by(self, now: datetime) -> bool:
        """Whether none of it may be spent at `now`: at the very instant of `expires_at` it has expired."""
        expires_at, idle_at = self.expires_at, self.idle_at
        return (expires_at is not None and expires_at <= now) or (idle_at is not None and idle_at <= now)

    @property
    def silenced(self) -> bool:
        """Whether it ends with its wallet, before its own end."""
        return self.idle_at is not None and (self.expires_at is None or self.idle_at < self.expires_at)

    @property
    def dies_at(self) -> datetime | None:
        """The instant from which none of it may be spent; None: never."""
        if self.expires_at is None or self.idle_at is None:
            return self.expires_at or self.idle_at
        return min(self.expires_at, self.idle_at)


class Wallet(msgspec.Struct):
    """A wallet under its lock: its row as it was read, and then as the decisions of this batch leave it.

    `clock` is PostgreSQL's, read after the lock. `last_active_at` is known where a decision needs it, and grows with each line
    that brings points or spends them. `idle_at` is when the balance ended, where it was left alone for too long, and `silence`
    tells it from the last activity. `birth_month` (1 to 12) is known where a
    decision needs it, and members said it. `told` counts the events of this batch. `lots`
    are those that were loaded or opened; what
    was posted since stands in `lines`, `opened` and `touched`.
    """

    wallet_id: UUID
    programme: str
    member_id: UUID
    clock: datetime
    status: str = "active"
    issued: int = 0
    held: int = 0
    available: int = 0
    reserved: int = 0
    redeemed: int = 0
    expired: int = 0
    reversed: int = 0
    transferred: int = 0
    adjusted: int = 0
    debt: int = 0
    seq: int = 0
    event_sequence: int = 0
    head: bytes = GENESIS
    last_posted_at: datetime = _EPOCH
    last_active_at: datetime | None = None
    idle_at: datetime | None = None
    silence: Silence | None = None
    birth_month: int | None = None
    told: int = 0
    lots: list[Lot] = []
    lines: list[Line] = []
    opened: list[Lot] = []
    touched: dict[UUID, Lot] = {}

    @property
    def idle_holds(self) -> bool:
        """Whether what is held has ended with the balance."""
        return self.idle_at is not None and self.silence is not None and self.silence.holds_expire

    def next_event(self) -> int:
        """The count of the next event about this wallet, from 1."""
        self.event_sequence += 1
        self.told += 1
        return self.event_sequence

    def open(self, lot: Lot) -> None:
        """Takes in a new lot; its points come by the line that names it."""
        self.lots.append(lot)
        self.opened.append(lot)

    def take(self, lot: Lot, points: int) -> None:
        """Takes usable points out of a lot; they leave `available` by the line that names it."""
        assert 0 < points <= lot.usable, (lot.lot_id, points, lot.usable)
        lot.remaining -= points
        self.touched[lot.lot_id] = lot

    def shift(self, lot: Lot, from_bucket: Bucket, to_bucket: Bucket, points: int) -> None:
        """Moves points of a lot as the line that names it moves those of the wallet."""
        assert points > 0, (lot.lot_id, points)
        if from_bucket in IN_LOTS:
            assert points <= _part(lot, from_bucket), (lot.lot_id, from_bucket, points)
            lot.remaining -= points
        if to_bucket in IN_LOTS:
            lot.remaining += points
        for bucket, change in ((from_bucket, -points), (to_bucket, points)):
            if bucket == "held":
                lot.held += change
            elif bucket == "reserved":
                lot.reserved += change
            elif bucket == "expired":
                lot.expired += change
                lot.more_expired += change
            elif bucket == "reversed" and from_bucket != "debt":
                lot.reversed += change
                lot.more_reversed += change
        if from_bucket == "debt" and to_bucket == "reversed":
            lot.owed += points
            lot.more_owed += points
        self.touched[lot.lot_id] = lot

    def move(
        self,
        kind: Kind,
        from_bucket: Bucket,
        to_bucket: Bucket,
        points: int,
        *,
        posting_id: UUID,
        money_minor: int,
        lot_id: UUID | None,
        source_id: UUID | None,
        effective_at: datetime,
    ) -> Line:
        """Posts one line: the points leave one bucket, come into the other, and the chain grows by its hash."""
        clock = self.clock if effective_at <= self.clock else no_sooner(self.clock, effective_at)
        posted_at = next_moment(clock, self.last_posted_at, f"wallet {self.wallet_id}")
        if to_bucket in ACTIVE and kind not in PASSIVE:
            self.last_active_at = max(self.last_active_at or effective_at, effective_at)
        setattr(self, from_bucket, getattr(self, from_bucket) - points)
        setattr(self, to_bucket, getattr(self, to_bucket) + points)
        self.last_posted_at = posted_at
        self.seq = seq = self.seq + 1
        line = (
            self.wallet_id,
            seq,
            posting_id,
            posted_at,
            effective_at,
            points,
            money_minor,
            self.available,
            self.held,
            self.reserved,
            self.debt,
            lot_id,
            source_id,
            kind,
            from_bucket,
            to_bucket,
        )
        self.head = head = sha256(canonical(self.head, *line)).digest()
        posted = Line(*line, head)
        self.lines.append(posted)
        return posted


def no_sooner(clock: datetime, effective_at: datetime) -> datetime:
    """The clock, or the later moment at which a line happened that is decided now: PostgreSQL's clock was read with the wallet's
    lock, and the decision's after it. What happens later by more is a date that somebody said, or another clock."""
    return effective_at if clock < effective_at <= clock + _DECIDED_AFTER else clock


def next_moment(clock: datetime, last_posted_at: datetime, whose: str) -> datetime:
    """When the next line is posted: by PostgreSQL's clock, and always after the line before it."""
    if clock > last_posted_at:
        return clock
    behind = last_posted_at - clock
    if behind > _MOST_BEHIND:
        fault = ClockCatchingUp if behind < _CATCHES_UP else ClockBehind
        raise fault(f"{whose}: {clock} is before its line of {last_posted_at}")
    return last_posted_at + _STEP


def _part(lot: Lot, bucket: Bucket) -> int:
    if bucket == "held":
        return lot.held
    return lot.reserved if bucket == "reserved" else lot.usable


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z, exactly."""
    return (moment - _EPOCH) // _STEP


def canonical(
    previous: bytes,
    wallet_id: UUID,
    seq: int,
    posting_id: UUID,
    posted_at: datetime,
    effective_at: datetime,
    points: int,
    money_minor: int,
    available_after: int,
    held_after: int,
    reserved_after: int,
    debt_after: int,
    lot_id: UUID | None,
    source_id: UUID | None,
    kind: Kind,
    from_bucket: Bucket,
    to_bucket: Bucket,
) -> bytes:
    """The 172 bytes of a line that are hashed, laid out as docs/ledger.md says; the arguments are a Line's fields."""
    return _PACK(
        _VERSION,
        previous,
        wallet_id.bytes,
        seq,
        posting_id.bytes,
        KINDS[kind],
        BUCKETS[from_bucket],
        BUCKETS[to_bucket],
        points,
        money_minor,
        _NIL if lot_id is None else lot_id.bytes,
        _NIL if source_id is None else source_id.bytes,
        micros(effective_at),
        micros(posted_at),
        available_after,
        held_after,
        reserved_after,
        debt_after,
    )
