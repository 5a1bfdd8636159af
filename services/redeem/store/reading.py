"""What is asked about wallets, beside the lane."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.redeem.domain.months import EPOCH, base_of
from services.redeem.domain.spendable import gone
from shared.db import Connection
from shared.money import Worth, worth
from shared.sql import load

queries = load("services.redeem.store", "reading.sql")

EVER = datetime.max.replace(tzinfo=UTC)
NEVER = datetime.min.replace(tzinfo=UTC)


class Value(NamedTuple):
    """What a wallet's points are worth; `merged_into`: the wallet that it was merged into."""

    programme: str
    currency: str
    point_value: str
    merged_into: UUID | None = None

    def worth(self, points: int) -> Worth:
        """Points with their money."""
        return worth(points, self.point_value, self.currency)


class Unvalued(Exception):
    """No word of the wallet's programme has come here yet; the argument is its code."""


async def value_of(db: Connection, wallet_id: UUID) -> Value | None:
    """What a wallet's points are worth now; None for a wallet that is not known here, Unvalued for an unknown programme."""
    found = await queries.wallet_value(db, wallet_id=wallet_id)
    if found is not None and found["currency"] is None:
        raise Unvalued(found["programme"])
    return None if found is None else Value(*found)


class Ending(NamedTuple):
    """What is usable of a balance until one moment. None: for ever."""

    expires_at: datetime | None
    usable: int

    @property
    def idle_at(self) -> None:
        """Where silence ends the balance, `expires_at` says so."""


class Standing(NamedTuple):
    """A wallet's balance, and what is usable of it by expiry, the earliest first."""

    available: int
    held: int
    reserved: int
    debt: int
    by_expiry: list[Ending]

    def spendable(self, now: datetime) -> int:
        """What may be spent of it at that moment."""
        return self.available - gone(self.by_expiry, now)

    def ending(self, at: datetime | None) -> Standing:
        """The same where the whole balance ends at that moment, unless its lots do before."""
        if at is None:
            return self
        sums: dict[datetime, int] = {}
        for expires_at, points in self.by_expiry:
            ends = at if expires_at is None else min(at, expires_at)
            sums[ends] = sums.get(ends, 0) + points
        return self._replace(by_expiry=[Ending(*one) for one in sorted(sums.items())])


async def standing(db: Connection, wallet_id: UUID) -> Standing:
    """A known wallet as it stands."""
    return _standing(await queries.balance(db, wallet_id=wallet_id))


async def standing_at(
    db: Connection, wallet_id: UUID, *, posted_by: datetime = EVER, effective_by: datetime = EVER
) -> Standing:
    """A known wallet from its lines that were posted, or effective, by a moment; one of the two is given.

    What it costs does not grow with the ledger (docs/ledger.md, "A past moment"). A month that is closed between the two
    statements changes nothing: what was closed before is enough.
    """
    closed = await queries.closed_through(db) or EPOCH
    base = base_of(min(posted_by, effective_by), closed)
    rows = await queries.balance_at(
        db,
        wallet_id=wallet_id,
        posted_by=posted_by,
        effective_by=effective_by,
        base=base.begins,
        base_end=base.ends,
        closed=closed,
    )
    return _standing(rows)


def _standing(rows: Sequence[Any]) -> Standing:
    first = rows[0]
    by_expiry = [Ending(row["expires_at"], row["usable"]) for row in rows if row["usable"]]
    return Standing(first["available"], first["held"], first["reserved"], first["debt"], by_expiry)


class Span(NamedTuple):
    """A span of time on one clock: from `since` on, before `until`."""

    since: datetime = NEVER
    until: datetime = EVER


ALWAYS = Span()


async def ledger_page(
    db: Connection,
    wallet_id: UUID,
    *,
    before: int | None,
    most: int,
    kinds: Sequence[str] = (),
    posted: Span = ALWAYS,
    effective: Span = ALWAYS,
) -> Sequence[Any]:
    """Lines with a smaller `seq` (None: the last ones), the newest first, of these kinds (none: any) and spans."""
    last: int = await queries.last_seq(db, wallet_id=wallet_id)
    top = last + 1 if before is None else min(before, last + 1)
    filtered = kinds or posted != ALWAYS or effective != ALWAYS
    rows: Sequence[Any] = await queries.ledger_page(
        db,
        wallet_id=wallet_id,
        before=top,
        reach=top if filtered else most,
        posted_since=posted.since,
        posted_until=posted.until,
        effective_since=effective.since,
        effective_until=effective.until,
        kinds=list(kinds) or None,
        most=most,
    )
    return rows


async def line(db: Connection, wallet_id: UUID, seq: int) -> Any | None:
    """One line; None where there is none of this number."""
    rows = await ledger_page(db, wallet_id, before=seq + 1, most=1)
    return rows[0] if rows and rows[0]["seq"] == seq else None


async def open_lots(
    db: Connection, wallet_id: UUID, *, after: tuple[datetime, UUID] | None, most: int
) -> Sequence[Any]:
    """Lots that hold something, by when they were earned, after this one."""
    earned_at, lot_id = after or (NEVER, UUID(int=0))
    rows: Sequence[Any] = await queries.open_lots(
        db, wallet_id=wallet_id, earned_at=earned_at, lot_id=lot_id, most=most
    )
    return rows


async def all_lots(db: Connection, wallet_id: UUID, *, before: int, most: int) -> Sequence[Any]:
    """All lots that were opened by a line with a smaller `seq`, the last opened first. Reads all of the wallet's lines."""
    rows: Sequence[Any] = await queries.all_lots(db, wallet_id=wallet_id, before=before, most=most)
    return rows


async def lineage(db: Connection, lot_id: UUID) -> Sequence[Any]:
    """A lot, the one that it came from, and so on to the one that was earned."""
    rows: Sequence[Any] = await queries.lineage(db, lot_id=lot_id)
    return rows
