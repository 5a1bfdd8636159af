"""What is due: lots past their expiry, wallets that were left alone, members to be told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.redeem.domain.expiring import mark_idle
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.store import merging
from services.redeem.store.locked import Locked
from services.redeem.store.sql import columns, moving
from shared.db import Connection


class Due(NamedTuple):
    """A lot that is due, as it was seen without a lock."""

    lot_id: UUID
    wallet_id: UUID
    expires_at: datetime


class Told(NamedTuple):
    """That a member was told, in the order of the query's parameters."""

    wallet_id: UUID
    expires_at: datetime
    days: int
    points: int


async def last_activity(
    db: Connection, wallet_ids: Collection[UUID]
) -> Sequence[tuple[UUID, datetime | None]]:
    """When the members of these wallets were last active."""
    return [(row[0], row[1]) for row in await moving.last_activity(db, wallet_ids=list(wallet_ids))]


async def open_lots(db: Connection, wallet_ids: Collection[UUID]) -> list[Lot]:
    """All open lots of these wallets."""
    return [Lot(*row) for row in await moving.open_lots(db, wallet_ids=list(wallet_ids))]


async def due_lots(db: Connection, wallet_ids: Collection[UUID], now: datetime) -> list[Lot]:
    """The open lots of these wallets that are past their expiry."""
    return [Lot(*row) for row in await moving.due_lots(db, wallet_ids=list(wallet_ids), now=now)]


async def load_due(
    db: Connection, wallets: Mapping[UUID, Wallet], wallet_ids: Collection[UUID], now: datetime
) -> None:
    """Gives these locked wallets their open lots past their expiry that were not loaded before: for their balance as it is read.
    None asked, nothing asked for."""
    asked = {wallets[one].wallet_id for one in wallet_ids if one in wallets}
    if not asked:
        return
    loaded = {lot.lot_id for one in asked for lot in wallets[one].lots}
    for lot in await due_lots(db, asked, now):
        if lot.lot_id not in loaded:
            lot.idle_at = wallets[lot.wallet_id].idle_at
            wallets[lot.wallet_id].lots.append(lot)


async def expiring_lots(
    db: Connection, wallet_ids: Collection[UUID], now: datetime, until: datetime
) -> list[Lot]:
    """The open lots of these wallets that expire between these moments."""
    return [
        Lot(*row) for row in await moving.expiring_lots(db, wallet_ids=list(wallet_ids), now=now, until=until)
    ]


async def load_by_id(
    db: Connection, lot_ids: Collection[UUID], wallets: Mapping[UUID, Wallet]
) -> dict[UUID, Lot]:
    """Lots with what became of them, put into those of the locked wallets that are theirs. One that was loaded before stands
    there no more: two copies of a lot would overwrite each other. None asked, nothing asked for."""
    if not lot_ids:
        return {}
    found = {row[0]: Lot(*row) for row in await moving.lots_by_id(db, lot_ids=list(lot_ids))}
    for wallet in wallets.values():
        own = [lot for lot in found.values() if lot.wallet_id == wallet.wallet_id]
        if own:
            wallet.lots = [lot for lot in wallet.lots if lot.lot_id not in found] + own
            mark_idle(wallet, wallet.idle_at)
    return found


async def see_wallets(db: Connection, wallet_ids: Collection[UUID]) -> list[Wallet]:
    """The wallets as they are, not locked: for a look at what would be decided."""
    return [Wallet(*row) for row in await moving.see_wallets(db, wallet_ids=list(wallet_ids))]


async def see_heirs(db: Connection, wallet_ids: Collection[UUID]) -> Locked:
    """The same, heirs in place of those that were merged, under either name; of one snapshot."""
    homes = await merging.homes(db, wallet_ids)
    found = Locked()
    for wallet in await see_wallets(db, set(homes.values())):
        found.add(wallet, [one for one, home in homes.items() if home == wallet.wallet_id != one])
    return found


async def due_page(
    db: Connection, *, after: tuple[datetime, UUID] | None, now: datetime, most: int
) -> list[Due]:
    """Lots that are due, in the order of their expiry, after a place in it."""
    at, lot_id = after or (None, None)
    rows = await moving.due_page(db, after_at=at, after_lot=lot_id, now=now, most=most)
    return [Due(*row) for row in rows]


async def wallets_page(
    db: Connection, programmes: Collection[str], *, after: UUID | None, before: datetime, most: int
) -> tuple[list[UUID], UUID | None]:
    """Of the next `most` wallets after a place: those of these programmes with points whose members were not active since
    `before`; and the last one that was looked at, None at the end."""
    rows = await moving.idle_page(
        db, programmes=list(programmes), after=after or UUID(int=0), before=before, most=most
    )
    if not rows:
        return [], None
    return [row["wallet_id"] for row in rows if row["idle"]], rows[-1]["wallet_id"]


async def untold_page(
    db: Connection,
    programme: str,
    *,
    days: int,
    after: tuple[datetime, UUID] | None,
    now: datetime,
    until: datetime,
    most: int,
) -> list[Due]:
    """Lots of a programme that expire between these moments, of which nobody of their family was told so many days
    before."""
    at, lot_id = after or (None, None)
    rows = await moving.untold_page(
        db,
        programme=programme,
        days=days,
        after_at=at,
        after_lot=lot_id,
        now=now,
        until=until,
        most=most,
    )
    return [Due(*row) for row in rows]


async def told(
    db: Connection, wallet_ids: Collection[UUID], now: datetime
) -> set[tuple[UUID, datetime, int]]:
    """What was told of these wallets' points that have not expired yet, to them or to what was merged into them: wallet, expiry,
    days before."""
    return {
        (row[0], row[1], row[2]) for row in await moving.told_of(db, wallet_ids=list(wallet_ids), now=now)
    }


async def keep_told(db: Connection, rows: Sequence[Told]) -> None:
    """That members were told; their wallets are locked."""
    if rows:
        await moving.keep_told(db, **columns(("wallet_ids", "expires_ats", "days", "points"), rows))
