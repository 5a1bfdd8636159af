"""The arithmetic of a gift card's ledger: how a line moves money, and the bytes that are hashed.

Of the same shape as the ledger of points. docs/ledger.md ("Gift cards") is the specification of the bytes; an independent
verifier is written from it, so the two change together.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import GENESIS, micros, next_moment, no_sooner

Bucket = Literal["issued", "balance", "used", "expired"]
Kind = Literal["activate", "reload", "use", "refund", "expire", "cancel"]

# The codes stand in hashed bytes: they are added to, never changed.
BUCKETS: dict[Bucket, int] = {"issued": 1, "balance": 2, "used": 3, "expired": 4}
KINDS: dict[Kind, int] = {"activate": 1, "reload": 2, "use": 3, "refund": 4, "expire": 5, "cancel": 6}
MOVES: dict[Kind, tuple[Bucket, Bucket]] = {
    "activate": ("issued", "balance"),
    "reload": ("issued", "balance"),
    "use": ("balance", "used"),
    "refund": ("used", "balance"),
    "expire": ("balance", "expired"),
    "cancel": ("balance", "issued"),
}

_VERSION = 0x47
"""No line of points begins with it: the bytes of one ledger are never those of the other."""
_NIL = bytes(16)
_PACK = struct.Struct(">B32s16sQ16sBBBq16sqqqqqq").pack
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Line(msgspec.Struct, frozen=True, gc=False):
    """One row of a card's ledger, hashed; the fields stand in the order of the table's columns. Amounts are minor units."""

    card_id: UUID
    seq: int
    posting_id: UUID
    posted_at: datetime
    effective_at: datetime
    amount_minor: int
    issued_after: int
    balance_after: int
    used_after: int
    expired_after: int
    source_id: UUID | None
    kind: Kind
    from_bucket: Bucket
    to_bucket: Bucket
    hash: bytes


class Card(msgspec.Struct):
    """A card under its lock: its row as it was read, and then as the decisions of this batch leave it.

    `clock` is PostgreSQL's, read after the lock. `amount_minor` is what the activation loads. What is written is in `lines`,
    and `changed` says whether the row is.
    """

    card_id: UUID
    serial: str
    programme: str
    programme_version: int
    amount_minor: int
    pin_hash: str
    clock: datetime
    status: Literal["issued", "active", "voided"] = "issued"
    activated_at: datetime | None = None
    expires_at: datetime | None = None
    blocked: bool = False
    wrong_pins: int = 0
    locked_until: datetime | None = None
    issued: int = 0
    balance: int = 0
    used: int = 0
    expired: int = 0
    seq: int = 0
    event_sequence: int = 0
    head: bytes = GENESIS
    last_posted_at: datetime = _EPOCH
    lines: list[Line] = []
    changed: bool = False

    def next_event(self) -> int:
        """The count of the next event about this card, from 1."""
        self.event_sequence += 1
        self.changed = True
        return self.event_sequence

    def expired_by(self, now: datetime) -> bool:
        """Whether nothing can be paid with it at `now`: at the very instant of `expires_at` it has expired."""
        return self.expires_at is not None and self.expires_at <= now

    def move(
        self,
        kind: Kind,
        amount_minor: int,
        *,
        posting_id: UUID,
        source_id: UUID | None,
        effective_at: datetime,
    ) -> Line:
        """Posts one line: the money leaves one bucket, comes into the other, and the chain grows by its hash."""
        assert amount_minor > 0, (self.card_id, amount_minor)
        clock = no_sooner(self.clock, effective_at)
        posted_at = next_moment(clock, self.last_posted_at, f"gift card {self.card_id}")
        from_bucket, to_bucket = MOVES[kind]
        setattr(self, from_bucket, getattr(self, from_bucket) - amount_minor)
        setattr(self, to_bucket, getattr(self, to_bucket) + amount_minor)
        assert self.balance >= 0, (self.card_id, self.balance)
        assert self.used >= 0, (self.card_id, self.used)
        self.last_posted_at = posted_at
        self.seq += 1
        self.changed = True
        fields = (
            self.card_id,
            self.seq,
            posting_id,
            posted_at,
            effective_at,
            amount_minor,
            self.issued,
            self.balance,
            self.used,
            self.expired,
            source_id,
            kind,
            from_bucket,
            to_bucket,
        )
        self.head = sha256(canonical(self.head, *fields)).digest()
        line = Line(*fields, self.head)
        self.lines.append(line)
        return line


def canonical(
    previous: bytes,
    card_id: UUID,
    seq: int,
    posting_id: UUID,
    posted_at: datetime,
    effective_at: datetime,
    amount_minor: int,
    issued_after: int,
    balance_after: int,
    used_after: int,
    expired_after: int,
    source_id: UUID | None,
    kind: Kind,
    from_bucket: Bucket,
    to_bucket: Bucket,
) -> bytes:
    """The 148 bytes of a line that are hashed, laid out as docs/ledger.md says; the arguments are a Line's fields."""
    return _PACK(
        _VERSION,
        previous,
        card_id.bytes,
        seq,
        posting_id.bytes,
        KINDS[kind],
        BUCKETS[from_bucket],
        BUCKETS[to_bucket],
        amount_minor,
        _NIL if source_id is None else source_id.bytes,
        micros(effective_at),
        micros(posted_at),
        issued_after,
        balance_after,
        used_after,
        expired_after,
    )
