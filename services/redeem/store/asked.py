"""What earn asks about accruals: each request once for ever, where an accrual stands, and what each request came to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from services.redeem.domain.coming_back import Short
from services.redeem.domain.ledger import Lot
from services.redeem.store.sql import columns, moving
from shared.db import Connection
from shared.events import ReleaseRequested, ReversalRequested

Request = ReleaseRequested | ReversalRequested

_REQUESTS: dict[str, type[Request]] = {"release": ReleaseRequested, "reverse": ReversalRequested}
_json = msgspec.json.Encoder().encode


class Waiting(NamedTuple):
    """A request with what it goes back to."""

    request: Request
    cause: str | None
    trace: str
    traceparent: str | None


class Known(NamedTuple):
    """What was asked under an id."""

    kind: str
    accrual_id: UUID
    through: int

    @classmethod
    def of(cls, request: Request) -> Known:
        """As it is compared."""
        if isinstance(request, ReleaseRequested):
            return cls("release", request.accrual_id, request.release_through)
        return cls("reverse", request.accrual_id, request.reverse_through)


class Posted(NamedTuple):
    """An accrual that was posted, and the wallet that answers for it now."""

    kind: str
    points: int
    wallet_id: UUID


class Settled(NamedTuple):
    """What earlier requests about an accrual came to; `settled` and `lapsed` of those to take back, `shortfall` what of it is
    short still."""

    released: int = 0
    settled: int = 0
    lapsed: int = 0
    shortfall: int = 0

    @property
    def taken(self) -> int:
        """All that was ever taken back, debt included."""
        return self.settled - self.lapsed - self.shortfall


class Row(NamedTuple):
    """What a request came to, in the order of the query's parameters."""

    request_id: UUID
    state: str
    wallet_id: UUID
    posting_id: UUID | None
    released: int = 0
    cancelled: int = 0
    reversed: int = 0
    owed: int = 0
    lapsed: int = 0
    shortfall: int = 0


class Recovery(NamedTuple):
    """A row of `recoveries`, in the order of its columns."""

    posting_id: UUID
    request_id: UUID
    accrual_id: UUID
    wallet_id: UUID
    points: int


async def claim(db: Connection, asked: Sequence[Waiting]) -> set[UUID]:
    """Keeps requests, each id once; gives those that were never made before."""
    known = [Known.of(one.request) for one in asked]
    rows = await moving.claim_asked(
        db,
        request_ids=[one.request.request_id for one in asked],
        kinds=[one.kind for one in known],
        accrual_ids=[one.accrual_id for one in known],
        throughs=[one.through for one in known],
        saids=[_json(one.request).decode() for one in asked],
        causes=[one.cause for one in asked],
        traces=[one.trace for one in asked],
        traceparents=[one.traceparent for one in asked],
    )
    return {row[0] for row in rows}


async def known(db: Connection, request_ids: Collection[UUID]) -> dict[UUID, Known]:
    """What was asked under these ids."""
    rows = await moving.known_asked(db, request_ids=list(request_ids))
    return {row[0]: Known(row[1], row[2], row[3]) for row in rows}


async def lock(db: Connection, request_ids: Collection[UUID]) -> list[Waiting]:
    """Those of the requests that wait still, locked."""
    rows = await moving.lock_asked(db, request_ids=list(request_ids))
    return [
        Waiting(
            msgspec.json.decode(row["said"], type=_REQUESTS[row["kind"]]),
            row["cause"],
            row["trace"],
            row["traceparent"],
        )
        for row in rows
    ]


async def ready(db: Connection) -> list[UUID]:
    """Some of the requests that wait for what is there by now."""
    return [row[0] for row in await moving.ready_asked(db)]


async def any_waits(db: Connection) -> bool:
    """Whether any request waits."""
    return bool(await moving.any_waits(db))


async def posted(db: Connection, accrual_ids: Collection[UUID]) -> dict[UUID, Posted]:
    """Those of the accruals that were posted."""
    rows = await moving.accruals_asked(db, accrual_ids=list(accrual_ids))
    return {row[0]: Posted(row[1], row[2], row[3]) for row in rows}


async def lots(db: Connection, accrual_ids: Collection[UUID]) -> dict[UUID, list[Lot]]:
    """The lots of accruals whose wallets are locked."""
    found: dict[UUID, list[Lot]] = {accrual_id: [] for accrual_id in accrual_ids}
    for of_accrual, *lot in await moving.accrual_lots(db, accrual_ids=list(accrual_ids)):
        found[of_accrual].append(Lot(*lot))
    return found


async def settled(db: Connection, accrual_ids: Collection[UUID]) -> dict[UUID, Settled]:
    """Where accruals stand whose wallets are locked."""
    rows = await moving.accruals_settled(db, accrual_ids=list(accrual_ids))
    return {row[0]: Settled(row[1], row[2], row[3], row[4]) for row in rows}


async def write(db: Connection, rows: Sequence[Row]) -> None:
    """What requests came to."""
    if rows:
        await moving.settle_asked(db, **columns(_COLUMNS, rows))


async def short_lots(db: Connection, lot_ids: Collection[UUID]) -> dict[UUID, Short]:
    """By lot the accruals that these come from, of which a reversal was short; the lots of one accrual share one."""
    found: dict[UUID, Short] = {}
    by_accrual: dict[UUID, Short] = {}
    rows = await moving.short_lots(db, lot_ids=list(lot_ids))
    for lot_id, accrual_id, points, taken, said, earned_at in rows:
        asked = msgspec.json.decode(said, type=ReversalRequested)
        short = Short(accrual_id, points, taken, asked, earned_at)
        found[lot_id] = by_accrual.setdefault(accrual_id, short)
    return found


async def write_recoveries(db: Connection, rows: Sequence[Recovery]) -> None:
    """What was taken of points that came back."""
    await moving.write_recoveries(db, **columns(_RECOVERIES, rows))


_COLUMNS = (
    "request_ids",
    "states",
    "wallet_ids",
    "posting_ids",
    "releaseds",
    "cancelleds",
    "reverseds",
    "oweds",
    "lapseds",
    "shortfalls",
)
_RECOVERIES = ("posting_ids", "request_ids", "accrual_ids", "wallet_ids", "points")
assert len(_COLUMNS) == len(Row._fields)
