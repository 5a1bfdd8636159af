"""The ledger's arithmetic: what a wallet is, how a line moves points in it, and the bytes that are hashed.

docs/ledger.md is the specification of the bytes; an independent verifier is written from it, so the two change together.
"""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

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
}

GENESIS = bytes(32)
"""The hash before a wallet's first line."""

_VERSION = 1
_NIL = bytes(16)
_CANONICAL = struct.Struct(">B32s16sQ16sBBBqq16s16sqqqqqq")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEP = timedelta(microseconds=1)
_MOST_BEHIND = timedelta(seconds=5)


class ClockBehind(Exception):
    """PostgreSQL's clock stands more than five seconds behind a wallet's last line: a fault of the machine, never decided over."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """One row of the ledger, hashed."""

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


class Lot(msgspec.Struct, kw_only=True):
    """Points earned together. `remaining` counts those held and reserved too; `expires_at` None: never."""

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

    @property
    def usable(self) -> int:
        return self.remaining - self.held - self.reserved

    def expired_by(self, now: datetime) -> bool:
        """Whether none of it may be spent at `now`: at the very instant of `expires_at` it has expired."""
        return self.expires_at is not None and self.expires_at <= now


class Wallet(msgspec.Struct, kw_only=True):
    """A wallet under its lock: its row as it was read, then as the decisions of this batch leave it.

    `clock` is PostgreSQL's, read after the lock. `lots` are those that were loaded or opened; `lines` what was posted.
    """

    wallet_id: UUID
    programme: str
    member_id: UUID
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
    last_posted_at: datetime = datetime.min.replace(tzinfo=UTC)
    clock: datetime
    lots: list[Lot] = []
    lines: list[Line] = []

    def next_event(self) -> int:
        """The count of the next event about this wallet, from 1."""
        self.event_sequence += 1
        return self.event_sequence

    def move(
        self,
        points: int,
        from_bucket: Bucket,
        to_bucket: Bucket,
        *,
        kind: Kind,
        posting_id: UUID,
        money_minor: int,
        lot_id: UUID | None,
        source_id: UUID | None,
        effective_at: datetime,
    ) -> Line:
        """Posts one line: the points leave one bucket, come into the other, and the chain grows by its hash."""
        setattr(self, from_bucket, getattr(self, from_bucket) - points)
        setattr(self, to_bucket, getattr(self, to_bucket) + points)
        posted_at = self.clock
        if posted_at <= self.last_posted_at:
            if self.last_posted_at - posted_at > _MOST_BEHIND:
                raise ClockBehind(
                    f"wallet {self.wallet_id}: {posted_at} is before {self.last_posted_at}"
                )
            posted_at = self.last_posted_at + _STEP
        self.last_posted_at = posted_at
        self.seq += 1
        self.head = chain(
            self.head,
            wallet_id=self.wallet_id,
            seq=self.seq,
            posting_id=posting_id,
            kind=kind,
            from_bucket=from_bucket,
            to_bucket=to_bucket,
            points=points,
            money_minor=money_minor,
            lot_id=lot_id,
            source_id=source_id,
            effective_at=effective_at,
            posted_at=posted_at,
            available_after=self.available,
            held_after=self.held,
            reserved_after=self.reserved,
            debt_after=self.debt,
        )
        line = Line(
            self.wallet_id,
            self.seq,
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
            self.head,
        )
        self.lines.append(line)
        return line


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def canonical(
    previous: bytes,
    *,
    wallet_id: UUID,
    seq: int,
    posting_id: UUID,
    kind: Kind,
    from_bucket: Bucket,
    to_bucket: Bucket,
    points: int,
    money_minor: int,
    lot_id: UUID | None,
    source_id: UUID | None,
    effective_at: datetime,
    posted_at: datetime,
    available_after: int,
    held_after: int,
    reserved_after: int,
    debt_after: int,
) -> bytes:
    """The 172 bytes of a line that are hashed, laid out as docs/ledger.md says."""
    return _CANONICAL.pack(
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


def chain(previous: bytes, **line: object) -> bytes:
    """The hash of a line on top of the hash of the wallet's line before it."""
    return hashlib.sha256(canonical(previous, **line)).digest()  # type: ignore[arg-type]
