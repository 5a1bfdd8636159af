"""A posting: one atomic act on a wallet, line by line, with the balance before and after it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Bucket, Kind, Line, Lot, Wallet
from shared.errors import AmountOutOfRange
from shared.money import MOST_MINOR, minor_per_point, money_of
from shared.programme.base import MAX_POINTS


class Value(Protocol):
    """What points are worth."""

    @property
    def currency(self) -> str: ...
    @property
    def point_value(self) -> str: ...


def most_points(value: Value) -> int:
    """The most that one act may move: what they are worth has to be held by a line, too."""
    numerator, denominator = minor_per_point(value.point_value, value.currency)
    return min(MAX_POINTS, MOST_MINOR * denominator // numerator)


def check_worth(points: int, value: Value, pointer: str) -> None:
    """Refuses, as amount_out_of_range, what nobody can ask of one act: no points, or more than a line holds the worth of now."""
    most = most_points(value)
    if not 0 < points <= most:
        raise AmountOutOfRange(
            f"{points} points were asked; an act moves 1 to {most} points.", pointer=pointer
        )


class Rate(msgspec.Struct, frozen=True):
    """What points are worth, where an event says it."""

    currency: str
    point_value: str


class Before(msgspec.Struct, frozen=True):
    """A wallet as a posting found it."""

    seq: int
    available: int
    held: int
    reserved: int

    @classmethod
    def of(cls, wallet: Wallet) -> Before:
        return cls(wallet.seq, wallet.available, wallet.held, wallet.reserved)


class Posting(msgspec.Struct, frozen=True):
    """An atomic act that was posted, and the wallet's balance before and after it. `kind` is that of its first line. `silenced_by`:
    where points expired for their member had left them alone, the version of the programme that says so."""

    posting_id: UUID
    kind: Kind
    points: int
    effective_at: datetime
    lines: tuple[Line, ...]
    before: Before
    available: int
    held: int
    reserved: int
    silenced_by: int | None = None

    @property
    def posted_at(self) -> datetime:
        """When all of it was written: the moment of its last line."""
        return self.lines[-1].posted_at


class Act:
    """A posting while it is written: each line moves the points of the wallet and those of the lot that it names."""

    def __init__(
        self,
        wallet: Wallet,
        posting_id: UUID,
        value: Value,
        effective_at: datetime,
        source_id: UUID | None = None,
    ) -> None:
        self.wallet, self.posting_id = wallet, posting_id
        self._value, self._effective_at, self._source_id = value, effective_at, source_id
        self._before = Before.of(wallet)
        self.lines: list[Line] = []

    def move(
        self,
        kind: Kind,
        from_bucket: Bucket,
        to_bucket: Bucket,
        points: int,
        lot: Lot,
        *,
        effective_at: datetime | None = None,
        source_id: UUID | None = None,
    ) -> None:
        """One line; it happened when the act did and by the same source, unless said otherwise."""
        self.wallet.shift(lot, from_bucket, to_bucket, points)
        self._line(kind, from_bucket, to_bucket, points, lot, effective_at, source_id)

    def open(self, kind: Kind, from_bucket: Bucket, to_bucket: Bucket, lot: Lot) -> None:
        """The line that opens a lot, with all its points."""
        self.wallet.open(lot)
        self._line(kind, from_bucket, to_bucket, lot.points, lot, None, None)

    def bare(self, kind: Kind, from_bucket: Bucket, to_bucket: Bucket, points: int) -> None:
        """One line of points that lie in no lot."""
        self._line(kind, from_bucket, to_bucket, points, None, None, None)

    def _line(
        self,
        kind: Kind,
        from_bucket: Bucket,
        to_bucket: Bucket,
        points: int,
        lot: Lot | None,
        effective_at: datetime | None,
        source_id: UUID | None,
    ) -> None:
        self.lines.append(
            self.wallet.move(
                kind,
                from_bucket,
                to_bucket,
                points,
                posting_id=self.posting_id,
                money_minor=money_of(points, self._value.point_value, self._value.currency),
                lot_id=lot.lot_id if lot is not None else None,
                source_id=source_id or self._source_id,
                effective_at=effective_at or self._effective_at,
            )
        )

    def done(self, *, silenced_by: int | None = None) -> Posting | None:
        """What was posted; None where nothing moved."""
        if not self.lines:
            return None
        wallet, lines = self.wallet, self.lines
        return Posting(
            self.posting_id,
            lines[0].kind,
            sum(line.points for line in lines),
            lines[-1].effective_at,
            tuple(lines),
            self._before,
            wallet.available,
            wallet.held,
            wallet.reserved,
            silenced_by,
        )


def points_of(posting: Posting | None, *kinds: Kind) -> int:
    """How many points the lines of these kinds moved."""
    return sum(line.points for line in posting.lines if line.kind in kinds) if posting is not None else 0
