"""Allowances of tills that can't ask, and what was spent on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.offline import Allowance
from services.redeem.domain.reviving import Went
from services.redeem.store import asked, postings
from services.redeem.store.postings import REDEMPTION_COLUMNS
from services.redeem.store.postings import Redemption as Row
from services.redeem.store.sql import columns, offline
from shared.db import Connection

Place = tuple[UUID, str, str]
"""A wallet, and a terminal of a merchant."""


class Known(NamedTuple):
    """A use that was posted, under its allowance and reference, with what has come back of it by now."""

    allowance_id: UUID
    redemption_ref: str
    content_hash: bytes
    redemption_id: UUID
    points: int
    overdrawn_points: int
    wallet_blocked: bool
    returned_points: int
    returned_minor: int


class Used(NamedTuple):
    """A use to be written, with its redemption."""

    row: Row
    allowance_id: UUID
    redemption_ref: str
    content_hash: bytes
    overdrawn_points: int
    wallet_blocked: bool


async def load_lots(
    db: Connection, wallets: Mapping[UUID, Wallet], needs: Mapping[UUID, tuple[int, set[str]]], now: datetime
) -> None:
    """Gives each locked wallet the lots that a spending of so many points can touch in any of these consumption orders: allowances
    of one wallet may be of different versions."""
    found: dict[UUID, dict[UUID, Lot]] = {wallet_id: {} for wallet_id in needs}
    for order in sorted({order for _, orders in needs.values() for order in orders}):
        of_order = [
            (wallet_id, points, order) for wallet_id, (points, orders) in needs.items() if order in orders
        ]
        await postings.load_lots(db, wallets, of_order, now)
        for wallet_id, *_ in of_order:
            found[wallet_id] |= {lot.lot_id: lot for lot in wallets[wallet_id].lots}
    for wallet_id, lots in found.items():
        wallets[wallet_id].lots = list(lots.values())


async def went_since(db: Connection, wallets: Mapping[UUID, Wallet], since: datetime) -> list[Went]:
    """What expired of these locked wallets after that moment and did not come back, the earliest first. None of them ever lost
    anything: nothing asked for."""
    losing = {wallet.wallet_id for wallet in wallets.values() if wallet.expired}
    if not losing:
        return []
    return [Went(*row) for row in await offline.went_since(db, wallet_ids=list(losing), since=since)]


async def leave_taken_back(db: Connection, went: Sequence[Went]) -> None:
    """Takes off of what expired as much as refunds found over of the same accruals: it was taken back. What expired last is left
    first. Their wallets are locked."""
    lapsed = await offline.lapsed_of_lots(db, lot_ids=[one.lot_id for one in went]) if went else []
    if not lapsed:
        return
    lots = await asked.lots(db, {row["accrual_id"] for row in lapsed})
    left = {
        row["accrual_id"]: sum(lot.expired for lot in lots[row["accrual_id"]]) - row["lapsed"]
        for row in lapsed
    }
    accruals = {row["of_lot"]: row["accrual_id"] for row in lapsed}
    for one in reversed(went):
        if (accrual_id := accruals.get(one.lot_id)) is not None:
            one.points = min(one.points, max(left[accrual_id], 0))
            left[accrual_id] -= one.points


async def standing(db: Connection, places: Iterable[Place], now: datetime) -> dict[Place, Allowance]:
    """The allowances that stand for these wallets, which are locked, at these terminals."""
    rows = await offline.standing_allowances(
        db, **columns(("wallet_ids", "merchants", "terminals"), list(places)), now=now
    )
    found = [Allowance(*row) for row in rows]
    return {(one.wallet_id, one.merchant, one.terminal): one for one in found}


async def by_id(db: Connection, allowance_ids: Iterable[UUID]) -> dict[UUID, Allowance]:
    """Allowances as they stand; read again under their wallets' locks what was used of them."""
    rows = await offline.allowances_by_id(db, allowance_ids=list(allowance_ids))
    return {row[0]: Allowance(*row) for row in rows}


async def known(db: Connection, named: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], Known]:
    """Of these (allowance, reference) those that were posted before."""
    rows = await offline.uses_of(db, **columns(("allowance_ids", "redemption_refs"), named))
    return {(row[0], row[1]): Known(*row) for row in rows}


async def give(db: Connection, made: Sequence[Allowance]) -> None:
    """Writes new allowances."""
    if made:
        await offline.give_allowances(
            db, **columns(_ALLOWANCE, [msgspec.structs.astuple(one) for one in made])
        )


async def keep(
    db: Connection, used: Sequence[Used], allowances: Iterable[Allowance], reported_at: datetime
) -> None:
    """Writes what was spent on allowances, and what is used of them by now."""
    if not used:
        return
    touched = {one.allowance_id for one in used}
    changed = [one for one in allowances if one.allowance_id in touched]
    await offline.keep_uses(
        db,
        **columns(REDEMPTION_COLUMNS, [one.row for one in used]),
        use_allowances=[one.allowance_id for one in used],
        use_refs=[one.redemption_ref for one in used],
        use_hashes=[one.content_hash for one in used],
        use_overdrawn=[one.overdrawn_points for one in used],
        use_blocked=[one.wallet_blocked for one in used],
        used_allowances=[one.allowance_id for one in changed],
        used_points=[one.used_points for one in changed],
        reported_at=reported_at,
    )


_ALLOWANCE = (
    "allowance_ids",
    "wallet_ids",
    "programmes",
    "programme_versions",
    "merchants",
    "terminals",
    "points",
    "used_points",
    "issued_ats",
    "expires_ats",
    "report_untils",
)
assert len(_ALLOWANCE) == len(Allowance.__struct_fields__)
