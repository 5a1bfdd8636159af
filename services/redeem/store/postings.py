"""Posting: permanent keys, wallets under their lock, and all that was decided in one write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Line, Lot, Wallet
from services.redeem.domain.posting import Posting
from services.redeem.store.locked import Locked
from services.redeem.store.sql import columns, queries
from shared.db import Connection
from shared.events import PointsAccrued
from shared.messaging.transaction import Tx
from shared.messaging.writer import FLUSHED
from shared.rows import Rows
from shared.sql import Query, of_one_row

_astuple = msgspec.structs.astuple
_LAST = 2**63 - 1

COPY_FROM = 64
"""Lines from which new lots and lines go in by COPY: two round trips more, and a third of the time for each row."""


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


async def claim(db: Connection, accruals: Sequence[PointsAccrued]) -> dict[UUID, UUID]:
    """Takes the permanent keys of accruals, each id once; gives those that were free, with the wallets that they are posted to,
    which exist after it."""
    rows = await queries.claim_accruals(
        db,
        posting_ids=[accrual.accrual_id for accrual in accruals],
        wallet_ids=[accrual.wallet_id for accrual in accruals],
        points=[accrual.points for accrual in accruals],
        kinds=[accrual.kind for accrual in accruals],
        programmes=[accrual.programme for accrual in accruals],
        member_ids=[accrual.member_id for accrual in accruals],
    )
    return {row[0]: row[1] for row in rows}


async def note_acts(db: Connection, accruals: Iterable[PointsAccrued]) -> None:
    """Keeps which sources of accruals are acts; asks nothing where all are bills. Under their wallets' locks."""
    acts = {accrual.act_id for accrual in accruals if accrual.bill_id is None and accrual.act_id is not None}
    if acts:
        await queries.note_acts(db, act_ids=sorted(acts))


async def known_postings(db: Connection, posting_ids: Iterable[UUID]) -> dict[UUID, Known]:
    """What was posted under these ids, whenever that was."""
    rows = await queries.known_postings(db, posting_ids=list(posting_ids))
    return {row[0]: Known(row[1], row[2], row[3]) for row in rows}


async def lock(db: Connection, wallet_ids: Iterable[UUID]) -> Locked:
    """The wallets, locked until the end of the transaction; of one that was merged its heir, under either name. Raises
    MovedMeanwhile where one was merged while its lock was waited for."""
    rows = await queries.lock_wallets(db, wallet_ids=list(wallet_ids))
    locked = Locked()
    for row in rows:
        *wallet, asked_as = row
        locked.add(Wallet(*wallet), asked_as)
    return locked


async def load_lots(
    db: Connection, wallets: Mapping[UUID, Wallet], needs: Iterable[tuple[UUID, int, str]], now: datetime
) -> None:
    """Gives each of these locked wallets just the lots that spending so many points, in that consumption order, can touch: as many
    as all that is spent of it together."""
    own: dict[UUID, tuple[int, str]] = {}
    for wallet_id, points, consumption in needs:
        wallet = wallets[wallet_id]
        before, _ = own.get(wallet.wallet_id, (0, ""))
        own[wallet.wallet_id] = min(before + points, _LAST), consumption
        wallet.lots = []
    if not own:
        return
    rows = await queries.spendable_lots(
        db,
        wallet_ids=list(own),
        needed=[points for points, _ in own.values()],
        earliest_expiry=[consumption == "earliest_expiry" for _, consumption in own.values()],
        now=now,
    )
    for row in rows:
        wallets[row[1]].lots.append(Lot(*row))


async def write(
    tx: Tx,
    wallets: Iterable[Wallet],
    *,
    postings: Sequence[NewPosting] = (),
    redemptions: Sequence[Redemption] = (),
) -> None:
    """Writes what was posted to these locked wallets, the wallets themselves with what is told: the transaction fails where
    one was not as it had been read."""
    posted = [wallet for wallet in wallets if wallet.lines or wallet.told]
    if not posted:
        return
    copied = await _copy_many(tx.db, posted)
    tx.write_last(
        queries.post_and_flush,
        alone=_post_alone() if _one_of_each(posted, postings, redemptions) else None,
        **_what_was_posted(posted, postings, redemptions, copied=copied),
    )


def _one_of_each(
    posted: Sequence[Wallet], postings: Sequence[NewPosting], redemptions: Sequence[Redemption]
) -> bool:
    """Whether all is of one redemption that takes of one lot: the call that comes alone."""
    if not len(posted) == len(postings) == len(redemptions) == 1:
        return False
    [wallet] = posted
    return len(wallet.lines) == len(wallet.touched) == 1 and not wallet.opened


@cache
def _post_alone() -> Query:
    return of_one_row(queries.post_and_flush, without=_LOT_COLUMNS)


async def write_now(db: Connection, wallets: Iterable[Wallet], postings: Sequence[NewPosting]) -> None:
    """As `write`, of what moves nothing but accruals and of which every event is counted: it may go on beside the telling."""
    posted = [wallet for wallet in wallets if wallet.lines]
    copied = await _copy_many(db, posted)
    columns_of_all = _what_was_posted(posted, postings, (), copied=copied)
    await queries.post_and_flush(db, **columns_of_all, **dict.fromkeys(FLUSHED, ()))


async def _copy_many(db: Connection, posted: Sequence[Wallet]) -> bool:
    """Whether the new lots and the lines are so many that they were copied."""
    if sum([len(wallet.lines) for wallet in posted]) < COPY_FROM:
        return False
    await LOTS.copy(db, [LOTS.row(*_lot_row(lot)) for wallet in posted for lot in wallet.opened])
    await LEDGER.copy(db, [LEDGER.row(*_astuple(line)) for wallet in posted for line in wallet.lines])
    return True


def _what_was_posted(
    posted: Sequence[Wallet],
    postings: Sequence[NewPosting],
    redemptions: Sequence[Redemption],
    *,
    copied: bool,
) -> dict[str, Any]:
    """The parameters of `post_batch`; `copied`: without lots and lines, which are there."""
    opened = [lot for wallet in posted for lot in wallet.opened]
    fresh = {lot.lot_id for lot in opened}
    taken = [lot for wallet in posted for lot in wallet.touched.values() if lot.lot_id not in fresh]
    lines = [] if copied else [line for wallet in posted for line in wallet.lines]
    return {
        **_wallet_columns(posted),
        "taken_lots": [lot.lot_id for lot in taken],
        "taken_remaining": [lot.remaining for lot in taken],
        "taken_held": [lot.held for lot in taken],
        "taken_reserved": [lot.reserved for lot in taken],
        "taken_expires_ats": [lot.expires_at for lot in taken],
        "taken_expired": [lot.more_expired for lot in taken],
        "taken_reversed": [lot.more_reversed for lot in taken],
        "taken_owed": [lot.more_owed for lot in taken],
        **columns(_LOT_COLUMNS, [] if copied else [_lot_row(lot) for lot in opened]),
        **columns(_POSTING_COLUMNS, postings),
        **columns(REDEMPTION_COLUMNS, redemptions),
        **columns(_LINE_COLUMNS, [_astuple(line) for line in lines]),
    }


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
    "lot_parents",
    "lot_given",
    "lot_expired",
    "lot_reversed",
    "lot_owed",
)
LOTS = Rows(
    "lots",
    lot_id="uuid",
    wallet_id="uuid",
    accrual_id="uuid",
    source_id="uuid?",
    earned_at="timestamptz",
    expires_at="timestamptz?",
    points="bigint",
    remaining="bigint",
    held="bigint",
    reserved="bigint",
    parent_lot="uuid?",
    given="boolean",
    expired="bigint",
    reversed="bigint",
    owed="bigint",
)
"""In the order of the first fields of Lot; what left a lot that is new left it in this batch."""
LEDGER = Rows(
    "ledger",
    wallet_id="uuid",
    seq="bigint",
    posting_id="uuid",
    posted_at="timestamptz",
    effective_at="timestamptz",
    points="bigint",
    money_minor="bigint",
    available_after="bigint",
    held_after="bigint",
    reserved_after="bigint",
    debt_after="bigint",
    lot_id="uuid?",
    source_id="uuid?",
    kind="word",
    from_bucket="word",
    to_bucket="word",
    hash="bytea",
)
"""In the order of the fields of Line."""
_POSTING_COLUMNS = ("new_postings", "new_posting_wallets", "new_posting_points", "new_posting_kinds")
REDEMPTION_COLUMNS = (
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
assert len(REDEMPTION_COLUMNS) == len(Redemption._fields)
assert len(_LOT_COLUMNS) == len(LOTS.columns)
assert Lot.__struct_fields__[: len(LOTS.columns)] == tuple(LOTS.columns)
assert Line.__struct_fields__ == tuple(LEDGER.columns)


def _lot_row(lot: Lot) -> tuple[Any, ...]:
    return _astuple(lot)[: len(LOTS.columns)]


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
        "last_active_ats": [wallet.last_active_at for wallet in wallets],
    }
