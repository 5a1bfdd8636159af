"""Redemptions after their first instant: found, read under their wallets' locks, and written as they were settled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import starmap
from typing import Any, NamedTuple
from uuid import UUID

from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.reserving import LotPart, Redemption
from services.redeem.store.postings import REDEMPTION_COLUMNS
from services.redeem.store.postings import Redemption as Row
from services.redeem.store.sql import columns, redemptions
from shared.db import Connection


class Named(NamedTuple):
    """A redemption as it was named: by its id, or by the hash of its code; and the terminal that it is settled at."""

    redemption_id: UUID | None
    code_hash: bytes | None
    terminal: str | None


class Found(NamedTuple):
    """What never changes of a redemption, its bill as it was, and whether its merchant has that terminal."""

    redemption_id: UUID
    wallet_id: UUID
    merchant: str
    bill_ref: str | None
    terminal_known: bool


class Authorised(NamedTuple):
    """A redemption to be written, and what is set aside for it."""

    row: Row
    code_hash: bytes
    expires_at: datetime
    lots: list[LotPart]
    bill_most_minor: int | None = None


class Overdue(NamedTuple):
    """An authorisation whose time is over."""

    redemption_id: UUID
    wallet_id: UUID
    expires_at: datetime


async def authorise(db: Connection, made: Sequence[Authorised]) -> None:
    """Writes authorised redemptions with what they set aside."""
    if not made:
        return
    lots = [
        (one.row.redemption_id, place, part.lot_id, part.lent)
        for one in made
        for place, part in enumerate(one.lots, start=1)
    ]
    await redemptions.authorise(
        db,
        **columns(REDEMPTION_COLUMNS, [one.row for one in made]),
        code_hashes=[one.code_hash for one in made],
        expires_ats=[one.expires_at for one in made],
        bill_mosts=[one.bill_most_minor for one in made],
        **columns(("lot_redemptions", "lot_places", "lot_ids", "lot_lents"), lots),
    )


async def find(db: Connection, named: Sequence[Named]) -> dict[int, Found]:
    """The redemptions that are there, by the place of their name."""
    rows = await redemptions.named_redemptions(
        db, **columns(("redemption_ids", "code_hashes", "terminals"), named)
    )
    return {row[0] - 1: Found(*row[1:]) for row in rows}


async def load(db: Connection, redemption_ids: Iterable[UUID]) -> dict[UUID, Redemption]:
    """Redemptions, whole; of locked wallets, where anything is to be written. `load_lots` puts their lots into the wallets."""
    rows = await redemptions.whole_redemptions(db, redemption_ids=list(redemption_ids))
    found = {row[0]: Redemption(*[*row[:21], _parts(row[24:])]) for row in rows}
    for row in rows:
        one = found[row[0]]
        one.reward, one.bill_most_minor = row["reward"], row["bill_most_minor"]
        one.newest = row["newest"]
    return found


async def load_lots(
    db: Connection, found: Iterable[Redemption], wallets: dict[UUID, Wallet], now: datetime
) -> None:
    """Puts the lots of these redemptions into their wallets, and those past their expiry that no sweep has come by: what
    they hold is not spendable."""
    wanted = {part.lot_id for redemption in found for part in redemption.lots}
    rows = await redemptions.lots_touched(db, lot_ids=list(wanted), wallet_ids=list(wallets), now=now)
    for row in rows:
        wallets[row["wallet_id"]].lots.append(Lot(*row))


async def settle(db: Connection, changed: Sequence[Redemption]) -> None:
    """Writes what became of authorised redemptions."""
    if not changed:
        return
    lots = [
        (one.redemption_id, part.lot_id, part.captured, part.voided) for one in changed for part in one.lots
    ]
    await redemptions.settle(
        db,
        redemption_ids=[one.redemption_id for one in changed],
        statuses=[one.status for one in changed],
        terminals=[one.terminal for one in changed],
        cashiers=[one.cashier for one in changed],
        bill_refs=[one.bill_ref for one in changed],
        captured_points=[one.captured_points for one in changed],
        captured_minors=[one.captured_minor for one in changed],
        capture_postings=[one.capture_posting for one in changed],
        void_postings=[one.void_posting for one in changed],
        endeds=[one.ended for one in changed],
        ended_ats=[one.ended_at for one in changed],
        **columns(("lot_redemptions", "lot_ids", "lot_captureds", "lot_voideds"), lots),
    )


async def past_their_time(
    db: Connection, *, now: datetime, after: tuple[datetime, UUID], most: int
) -> list[Overdue]:
    """Authorisations that stand past their time, by the end of it, after one of them."""
    rows = await redemptions.past_their_time(db, now=now, after_at=after[0], after_id=after[1], most=most)
    return [Overdue(*row) for row in rows]


async def by_code(db: Connection, code_hash: bytes) -> Any:
    """An authorisation as it stands, by the hash of its code; None for none."""
    return await redemptions.redemption_by_code(db, code_hash=code_hash)


def _parts(arrays: Sequence[Any]) -> list[LotPart]:
    return list(starmap(LotPart, zip(*arrays, strict=True))) if arrays[0] else []
