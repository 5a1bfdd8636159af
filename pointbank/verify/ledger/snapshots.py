"""What past balances begin from: each closed month's snapshots and strays, made again from the lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pointbank.verify.ledger.wallet import WalletWalk
from pointbank.verify.matching import told

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)

SPANS = tuple(timedelta(days=4**span) for span in range(7))
"""A stray of span k lies over at most the k-th; 7 over any."""


def month_of(moment: datetime) -> tuple[datetime, datetime]:
    """The month of a moment, by UTC: its first instant, and that of the next."""
    begins = datetime(moment.year, moment.month, 1, tzinfo=UTC)
    return begins, (begins + timedelta(days=31)).replace(day=1)


class Closings(NamedTuple):
    """How far months are closed: all up to `closed`, and the one that ends at `under_way` for wallets up to `through`."""

    closed: datetime
    under_way: datetime
    through: bytes

    def done(self, as_of: datetime, wallet_id: bytes) -> bool:
        """Whether the month that ends at `as_of` is closed for this wallet."""
        return as_of <= self.closed or (as_of == self.under_way and wallet_id <= self.through)


NONE_CLOSED = Closings(_FIRST, _LAST, b"")


def read_closings(rows: list[Any]) -> tuple[Closings, list[str]]:
    """What the rows say, in the order of their months; and what is wrong with them."""
    problems = []
    closed, under_way, through = _FIRST, _LAST, b""
    for before, row in zip([None, *rows], rows, strict=False):
        as_of = row["as_of"]
        if as_of != month_of(as_of)[0]:
            problems.append(f"{as_of} is the end of no month")
        if before is not None and (month_of(before["as_of"])[1] != as_of or not before["closed"]):
            problems.append(f"the month that ended at {as_of} was closed before the one before it")
        if row["closed"]:
            closed = as_of
        else:
            under_way, through = as_of, row["through"]
    return Closings(closed, under_way, through), problems


class MonthsWalk:
    """One wallet's months while its lines go by."""

    def __init__(self, closings: Closings, wallet_id: bytes) -> None:
        self.walk = WalletWalk(wallet_id)
        self._closings = closings
        self._begins = self._ends = _FIRST
        self._snapshots: dict[datetime, tuple[Any, ...]] = {}
        self._strays: list[tuple[Any, ...]] = []

    def line(self, row: Any) -> None:
        """The next line, in the order of the columns of the query."""
        posted_at, effective_at = row[11], row[10]
        if posted_at >= self._ends:
            self._end_month()
            self._begins, self._ends = month_of(posted_at)
        if not self._begins <= effective_at < self._ends and self._closings.done(
            self._ends, self.walk.wallet_id
        ):
            starts_at, ends_at = min(posted_at, effective_at), max(posted_at, effective_at)
            span = sum(ends_at - starts_at > longest for longest in SPANS)
            late = effective_at < posted_at
            self._strays.append((span, starts_at, row[1], ends_at, late, row[6], row[8], row[4], row[5]))
        self.walk.line(row)

    def _end_month(self) -> None:
        walk = self.walk
        if walk.seq and self._closings.done(self._ends, walk.wallet_id):
            lots = sorted(
                (lot_id, lot.available, lot.held, lot.reserved)
                for lot_id, lot in walk.lots.items()
                if lot.available or lot.held or lot.reserved
            )
            self._snapshots[self._ends] = (walk.seq, walk.buckets["debt"], lots)

    def against(self, snapshots: list[Any], strays: list[Any]) -> Iterator[str]:
        """Ends the walk: what of the rows is not what the lines come to."""
        self._end_month()
        for row in snapshots:
            as_of = row["as_of"]
            lots = list(
                zip(row["lot_ids"], row["lot_available"], row["lot_held"], row["lot_reserved"], strict=True)
            )
            wanted = self._snapshots.pop(as_of, None)
            if wanted is None:
                yield f"a snapshot of {as_of}, where none belongs"
            elif wanted != (row["seq"], row["debt"], lots):
                yield f"its snapshot of {as_of} is not what its lines come to"
        for as_of in self._snapshots:
            yield f"its snapshot of {as_of} is not there"
        kept = sorted((tuple(row)[1:] for row in strays), key=lambda stray: stray[2])
        if kept != self._strays:
            numbers = {stray[2] for stray in self._strays}.symmetric_difference(stray[2] for stray in kept)
            which = ", ".join(map(str, sorted(numbers)[:5])) or "what they say"
            yield f"its strays are not the lines that happened in another month: {which}"


def orphan(row: Any, what: str) -> str:
    """A row of a wallet that has no lines."""
    return f"wallet {told(row['wallet_id'])} has a {what} and no line"
