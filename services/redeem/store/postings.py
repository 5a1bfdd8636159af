"""Posting: permanent keys, wallets under their lock with the lots that matter, and all that was decided in one write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Line, Lot, Wallet
from services.redeem.domain.spending import Posting
from services.redeem.store.sql import columns, queries
from shared.db import Connection
from shared.events import PointsAccrued

_astuple = msgspec.structs.astuple


class Redemption(NamedTuple):
    """A row of `redemptions`, in the order of its columns without the status."""

    redemption_id: UUID
    posting_id: UUID
    wallet_id: UUID
    programme: str
    programme_version: int
    points: int
    money_minor: int
    merchant: str
    terminal: str | None
    cashier: str | None
    channel: str | None
    bill_ref: str | None
    effective_at: datetime


class NewPosting(NamedTuple):
    """A permanent key that comes with this write; those of accruals were claimed before."""

    posting_id: UUID
    wallet_id: UUID
    points: int
    kind: str

    @classmethod
    def of(cls, wallet: Wallet, posting: Posting) -> NewPosting:
        return cls(posting.posting_id, wallet.wallet_id, posting.points, posting.kind)


class Known(NamedTuple):
    """What was posted under an id."""

    wallet_id: UUID
    points: int
    kind: str


class Changed(Exception):
    """A wallet or lot was not as it had been read under its lock: nothing may be written on top of it."""


async def claim(db: Connection, accruals: Sequence[PointsAccrued]) -> set[UUID]:
    """Takes the permanent keys of accruals, each id once; gives those that were free. Their wallets exist after it."""
    rows = await queries.claim_accruals(
        db,
        posting_ids=[accrual.accrual_id for accrual in accruals],
        wallet_ids=[accrual.wallet_id for accrual in accruals],
        points=[accrual.points for accrual in accruals],
        kinds=[accrual.kind for accrual in accruals],
        programmes=[accrual.programme for accrual in accruals],
        member_ids=[accrual.member_id for accrual in accruals],
    )
    return {row[0] for row in rows}


async def known_postings(db: Connection, posting_ids: Iterable[UUID]) -> dict[UUID, Known]:
    """What was posted under these ids, whenever that was."""
    rows = await queries.known_postings(db, posting_ids=list(posting_ids))
    return {row[0]: Known(row[1], row[2], row[3]) for row in rows}


async def lock(db: Connection, wallet_ids: Iterable[UUID]) -> dict[UUID, Wallet]:
    """The wallets, locked until the end of the transaction."""
    rows = await queries.lock_wallets(db, wallet_ids=list(wallet_ids))
    return {row[0]: Wallet(*row) for row in rows}


async def load_lots(
    db: Connection, wallets: Mapping[UUID, Wallet], needs: Mapping[UUID, tuple[int, str]], now: datetime
) -> None:
    """Gives each locked wallet the lots that a spending of so many points, in that consumption order, can touch."""
    rows = await queries.spendable_lots(
        db,
        wallet_ids=list(needs),
        needed=[points for points, _ in needs.values()],
        earliest_expiry=[consumption == "earliest_expiry" for _, consumption in needs.values()],
        now=now,
    )
    for row in rows:
        wallets[row[1]].lots.append(Lot(*row))


async def write(
    db: Connection,
    wallets: Iterable[Wallet],
    *,
    postings: Sequence[NewPosting] = (),
    redemptions: Sequence[Redemption] = (),
) -> None:
    """Writes what was posted to these locked wallets; raises Changed where one was not as it had been read."""
    posted = [wallet for wallet in wallets if wallet.lines]
    opened = [lot for wallet in posted for lot in wallet.opened]
    fresh = {lot.lot_id for lot in opened}
    taken = [lot for wallet in posted for lot in wallet.touched.values() if lot.lot_id not in fresh]
    counted = await queries.post(
        db,
        **_wallet_columns(posted),
        taken_lots=[lot.lot_id for lot in taken],
        taken_remaining=[lot.remaining for lot in taken],
        taken_held=[lot.held for lot in taken],
        taken_reserved=[lot.reserved for lot in taken],
        **columns(_LOT_COLUMNS, [_astuple(lot) for lot in opened]),
        **columns(_POSTING_COLUMNS, postings),
        **columns(_REDEMPTION_COLUMNS, redemptions),
        **columns(_LINE_COLUMNS, [_astuple(line) for wallet in posted for line in wallet.lines]),
    )
    if counted["wallets"] != len(posted) or counted["lots"] != len(taken):
        raise Changed(
            f"{counted['wallets']} of {len(posted)} wallets, {counted['lots']} of {len(taken)} lots"
        )


_LOT_COLUMNS = (
    "lot_ids",
    "lot_wallets",
    "lot_accruals",
    "lot_sources",
    "lot_earned_ats",
    "lot_expires_ats",
    "lot_points",
    "lot_remaining",
    "lot_held",
    "lot_reserved",
)
_POSTING_COLUMNS = ("new_postings", "new_posting_wallets", "new_posting_points", "new_posting_kinds")
_REDEMPTION_COLUMNS = (
    "redemption_ids",
    "redemption_postings",
    "redemption_wallets",
    "redemption_programmes",
    "redemption_versions",
    "redemption_points",
    "redemption_money",
    "redemption_merchants",
    "redemption_terminals",
    "redemption_cashiers",
    "redemption_channels",
    "redemption_bills",
    "redemption_ats",
)
_LINE_COLUMNS = (
    "line_wallets",
    "line_seqs",
    "line_postings",
    "line_posted_ats",
    "line_effective_ats",
    "line_points",
    "line_money",
    "line_available",
    "line_held",
    "line_reserved",
    "line_debt",
    "line_lots",
    "line_sources",
    "line_kinds",
    "line_froms",
    "line_tos",
    "line_hashes",
)
assert len(_LINE_COLUMNS) == len(Line.__struct_fields__)
assert len(_LOT_COLUMNS) == len(Lot.__struct_fields__)
assert len(_REDEMPTION_COLUMNS) == len(Redemption._fields)


def _wallet_columns(wallets: Sequence[Wallet]) -> dict[str, list[Any]]:
    return {
        "wallet_ids": [wallet.wallet_id for wallet in wallets],
        "issued": [wallet.issued for wallet in wallets],
        "held": [wallet.held for wallet in wallets],
        "available": [wallet.available for wallet in wallets],
        "reserved": [wallet.reserved for wallet in wallets],
        "redeemed": [wallet.redeemed for wallet in wallets],
        "expired": [wallet.expired for wallet in wallets],
        "reversed": [wallet.reversed for wallet in wallets],
        "transferred": [wallet.transferred for wallet in wallets],
        "adjusted": [wallet.adjusted for wallet in wallets],
        "debt": [wallet.debt for wallet in wallets],
        "seqs": [wallet.seq for wallet in wallets],
        "lines": [len(wallet.lines) for wallet in wallets],
        "event_sequences": [wallet.event_sequence for wallet in wallets],
        "heads": [wallet.head for wallet in wallets],
        "last_posted_ats": [wallet.last_posted_at for wallet in wallets],
    }
