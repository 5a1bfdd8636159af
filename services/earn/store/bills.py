"""Bills, decisions and accruals as they are written, and as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from services.earn.domain.bill import RecordBill, claims_json, tenders_json
from services.earn.domain.decision import Decision, decode_decision, encode_decision
from services.earn.store.sql import queries
from shared.db import Connection

CLOCK_SKEW = timedelta(hours=1)
"""How far a bill's `recorded_at` may lie from the time in its id: PostgreSQL's clock, and ours."""


class Judgement(NamedTuple):
    """A decision about a bill as it was kept; `n` counts them from 1."""

    n: int
    decided_at: datetime
    decision: Decision


Row = tuple[Any, ...]

# These go by COPY: half of a batch's work would be the encoding of arrays for one INSERT ... SELECT FROM unnest. When they
# were recorded is the transaction's time, which PostgreSQL fills in: a tenth of the client's work for a bill was to encode it.

_BILL_COLUMNS = (
    "bill_id",
    "merchant",
    "bill_ref",
    "terminal",
    "cashier",
    "channel",
    "occurred_at",
    "currency",
    "total_minor",
    "identity_kind",
    "identity",
    "programmes",
    "lines",
    "recorded_event_id",
    "stream_id",
    "source",
    "event_id",
    "tenders",
    "effects_applied",
)
_DECISION_COLUMNS = ("bill_id", "n", "status", "decided_at", "sequence", "decision")
_ACCRUAL_COLUMNS = ("bill_id", "wallet_id", "kind", "accrual_id", "points")


def bill_row(
    bill_id: UUID,
    bill: RecordBill,
    *,
    recorded_event_id: UUID,
    entry: tuple[str | None, str | None, str | None],
) -> Row:
    """A new bill as it is written. `entry`: stream id, source and id of the till's event."""
    kind, identity = bill.identity if bill.identity is not None else (None, None)
    return (
        bill_id,
        bill.merchant,
        bill.bill_ref,
        bill.terminal,
        bill.cashier,
        bill.channel,
        bill.occurred_at,
        bill.currency,
        bill.total_minor,
        kind,
        identity,
        bill.programmes,
        bill.lines_json.decode(),
        recorded_event_id,
        *entry,
        tenders_json(bill.tenders) if bill.tenders else None,
        claims_json(bill.claims) if bill.claims else None,
    )


def decision_row(bill_id: UUID, decision: Decision, *, n: int, decided_at: datetime, sequence: int) -> Row:
    """A bill's decision number `n` as it is written; `sequence` is that of the last event that it said."""
    text = encode_decision(decision).decode()
    return bill_id, n, decision.status, decided_at, sequence, text


async def write_bills(db: Connection, rows: Sequence[Row]) -> None:
    """New bills."""
    await db.copy_records_to_table("bills", records=rows, columns=_BILL_COLUMNS)


async def write_decisions(db: Connection, rows: Sequence[Row]) -> None:
    """New decisions."""
    await db.copy_records_to_table("decisions", records=rows, columns=_DECISION_COLUMNS)


async def write_accruals(db: Connection, rows: Sequence[tuple[UUID, UUID, str, UUID, int]]) -> None:
    """(bill, wallet, kind, accrual, points) of each accrual."""
    if rows:
        await db.copy_records_to_table("accruals", records=rows, columns=_ACCRUAL_COLUMNS)


def recorded_between(bill_id: UUID) -> tuple[datetime, datetime]:
    """Between which times a bill with this id was recorded: the id is a UUIDv7."""
    try:
        made_at = datetime.fromtimestamp((bill_id.int >> 80) / 1000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        made_at = datetime(1970, 1, 2, tzinfo=UTC)  # no id of ours: nothing was recorded then
    return made_at - CLOCK_SKEW, made_at + CLOCK_SKEW


async def bill_by_id(db: Connection, bill_id: UUID) -> Any:
    """The bill's row, or None."""
    since, until = recorded_between(bill_id)
    return await queries.bill_by_id(db, bill_id=bill_id, since=since, until=until)


async def bill_by_ref(db: Connection, merchant: str, bill_ref: str) -> Any:
    """The row of the bill with this reference, or None."""
    found = await queries.bill_by_ref(db, merchant=merchant, bill_ref=bill_ref)
    return None if found is None else await bill_by_id(db, found["bill_id"])


async def decisions_of(db: Connection, bill: Any) -> list[Judgement]:
    """Every decision about the bill of this row, in their order."""
    rows = await queries.decisions_of(db, bill_id=bill["bill_id"], since=bill["recorded_at"])
    return [Judgement(row["n"], row["decided_at"], decode_decision(row["decision"])) for row in rows]


async def bills_of_wallet(
    db: Connection, wallet_id: UUID, *, before: UUID | None, most: int
) -> list[tuple[Any, Decision]]:
    """Rows of bills that were judged for the wallet with their latest decision, newest first, from before that id on."""
    rows = await queries.bills_of_wallet(db, wallet_id=wallet_id, before=before, most=most)
    return [(row, decode_decision(row["decision"])) for row in rows]
