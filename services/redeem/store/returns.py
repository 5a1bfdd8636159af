"""Returns: which redemptions paid for a bill, which returns are known, and what came back, written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.redeem.domain.reserving import Redemption
from services.redeem.domain.returning import BackTo, taken
from services.redeem.store.sql import columns, redemptions
from shared.db import Connection
from shared.events import ReturnRequested


class Paid(NamedTuple):
    """A redemption that paid for a bill."""

    redemption_id: UUID
    wallet_id: UUID


class Known(NamedTuple):
    """A return that was made before under its reference: the hash of what was asked, and the answer."""

    request_hash: bytes
    answer: bytes


class Asked(NamedTuple):
    """What a refund asked under its request, and the redemptions that it found; None: heard before these were kept."""

    merchant: str
    bill_ref: str
    returned_minor: int
    total_minor: int
    meant: frozenset[UUID] | None

    @classmethod
    def of(cls, request: ReturnRequested, meant: Iterable[UUID]) -> Asked:
        """As it is kept."""
        return cls(*_said(request), frozenset(meant))

    def says(self, request: ReturnRequested) -> bool:
        """Whether this is what it asks."""
        return self[:-1] == _said(request)


class Return(NamedTuple):
    """A row of `returns`, in the order of its columns."""

    return_id: UUID
    redemption_id: UUID
    posting_id: UUID | None
    points: int
    money_minor: int
    merchant: str
    return_ref: str | None
    request_hash: bytes | None
    answer: bytes | None
    request_id: UUID | None
    effective_at: datetime


async def of_bills(db: Connection, requests: Sequence[ReturnRequested]) -> list[list[Paid]]:
    """The redemptions that paid for each request's bill, whatever became of them."""
    rows = await redemptions.redemptions_of_bills(
        db, merchants=[one.merchant for one in requests], bill_refs=[one.bill_ref for one in requests]
    )
    found: list[list[Paid]] = [[] for _ in requests]
    for k, redemption_id, wallet_id in rows:
        found[k - 1].append(Paid(redemption_id, wallet_id))
    return found


async def meet_bills(db: Connection, names: Iterable[tuple[str, str]]) -> None:
    """Locks these bills (merchant, bill_ref) until the end of the transaction, before any wallet: a refund and points spent for its
    bill that nobody had told of have no other row in common, and who comes second must find who came first."""
    await redemptions.meet_bills(db, **columns(("merchants", "bill_refs"), sorted(set(names))))


async def refunds_of_bills(
    db: Connection, names: Mapping[int, tuple[str, str]]
) -> dict[int, ReturnRequested]:
    """The highest refund that was asked of each of these bills (merchant, bill_ref); those that had none are left out."""
    places = list(names)
    rows = await redemptions.refunded_bills(
        db, merchants=[names[k][0] for k in places], bill_refs=[names[k][1] for k in places]
    )
    return {
        places[row["k"] - 1]: ReturnRequested(
            request_id=row["request_id"],
            refund_id=row["refund_id"],
            bill_id=row["bill_id"],
            merchant=names[places[row["k"] - 1]][0],
            bill_ref=names[places[row["k"] - 1]][1],
            returned_minor=row["returned_minor"],
            total_minor=row["total_minor"],
            effective_at=row["effective_at"],
            decided_at=row["decided_at"],
        )
        for row in rows
    }


async def load_taken(db: Connection, found: Iterable[Redemption]) -> None:
    """Gives plain redemptions that were never returned what they took of lots."""
    bare = {one.redemption_id: one for one in found if one.expires_at is None and not one.lots}
    if not bare:
        return
    rows = await redemptions.lines_of_redemptions(
        db,
        redemption_ids=list(bare),
        wallet_ids=[one.wallet_id for one in bare.values()],
        posting_ids=[one.posting_id for one in bare.values()],
    )
    for redemption_id, one in bare.items():
        one.lots = taken([(row[1], row[2]) for row in rows if row[0] == redemption_id])
        assert sum(part.captured for part in one.lots) == one.points, redemption_id


async def known(db: Connection, refs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Known]:
    """The returns of these (merchant, return_ref) that were made before."""
    rows = await redemptions.known_returns(db, **columns(("merchants", "return_refs"), list(refs)))
    return {(row[0], row[1]): Known(row[2], row[3]) for row in rows}


async def give_back(
    db: Connection,
    changed: Sequence[Redemption],
    returns: Sequence[Return],
    lots: Sequence[tuple[UUID, BackTo]],
) -> None:
    """Writes what came back; `lots` are (return_id, where to)."""
    if not returns:
        return
    parts = [
        (one.redemption_id, place, part.lot_id, part.lent, part.captured, part.voided, part.returned)
        for one in changed
        for place, part in enumerate(one.lots, start=1)
    ]
    await redemptions.give_back(
        db,
        redemption_ids=[one.redemption_id for one in changed],
        returned_points=[one.returned_points for one in changed],
        returned_minors=[one.returned_minor for one in changed],
        **columns(_PARTS, parts),
        **columns(_RETURNS, returns),
        back_returns=[return_id for return_id, _ in lots],
        back_lots=[back.lot_id for _, back in lots],
        back_tos=[back.to_lot for _, back in lots],
        back_points=[back.points for _, back in lots],
    )


async def asked_before(db: Connection, request_ids: Collection[UUID]) -> dict[UUID, Asked]:
    """What was asked under these ids before; their bills are met."""
    rows = await redemptions.asked_before(db, request_ids=list(request_ids))
    return {
        row["request_id"]: Asked(
            row["merchant"],
            row["bill_ref"],
            row["returned_minor"],
            row["total_minor"],
            None if row["meant"] is None else frozenset(row["meant"]),
        )
        for row in rows
    }


async def keep_requests(db: Connection, asked: Sequence[tuple[ReturnRequested, Sequence[UUID]]]) -> None:
    """Keeps what earn asked for the first time, with the redemptions that were found for it."""
    await redemptions.keep_requests(
        db,
        request_ids=[one.request_id for one, _ in asked],
        refund_ids=[one.refund_id for one, _ in asked],
        bill_ids=[one.bill_id for one, _ in asked],
        merchants=[one.merchant for one, _ in asked],
        bill_refs=[one.bill_ref for one, _ in asked],
        returned_minors=[one.returned_minor for one, _ in asked],
        total_minors=[one.total_minor for one, _ in asked],
        decided_ats=[one.decided_at for one, _ in asked],
        effective_ats=[one.effective_at for one, _ in asked],
        meant_requests=[one.request_id for one, meant in asked for _ in meant],
        meant_redemptions=[redemption_id for _, meant in asked for redemption_id in meant],
    )


def _said(request: ReturnRequested) -> tuple[str, str, int, int]:
    return request.merchant, request.bill_ref, request.returned_minor, request.total_minor


async def next_bill_events(db: Connection, bill_ids: Iterable[UUID]) -> dict[UUID, list[int]]:
    """The counts of the next events about bills, one for each time that a bill is named, the first first."""
    wanted = Counter(bill_ids)
    rows = await redemptions.count_bill_events(db, bill_ids=list(wanted), events=list(wanted.values()))
    return {bill_id: list(range(last - wanted[bill_id] + 1, last + 1)) for bill_id, last in rows}


_PARTS = (
    "lot_redemptions",
    "lot_places",
    "lot_ids",
    "lot_lents",
    "lot_captureds",
    "lot_voideds",
    "lot_returneds",
)
_RETURNS = (
    "return_ids",
    "return_redemptions",
    "return_postings",
    "return_points",
    "return_minors",
    "return_merchants",
    "return_refs",
    "return_hashes",
    "return_answers",
    "return_requests",
    "return_ats",
)
assert len(_RETURNS) == len(Return._fields)
