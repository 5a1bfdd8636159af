"""Bills, decisions and accruals as they are written, and as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.earn.domain.bill import RecordBill, claims_json, tenders_json
from services.earn.domain.decision import Decision, decode_decision, encode_decision
from services.earn.store.recorded import EVER, recorded_about
from services.earn.store.sql import queries
from shared.db import Connection
from shared.rows import Rows


class Judgement(NamedTuple):
    """A decision about a bill as it was kept; `n` counts them from 1."""

    n: int
    decided_at: datetime
    decision: Decision


Row = bytes

# These go by COPY: half of a batch's work would be the encoding of arrays for one INSERT ... SELECT FROM unnest. When they
# were recorded is the transaction's time, which PostgreSQL fills in: a tenth of the client's work for a bill was to encode it.

BILLS = Rows(
    "bills",
    bill_id="uuid",
    merchant="word",
    bill_ref="text",
    terminal="word?",
    cashier="word?",
    channel="word?",
    occurred_at="timestamptz",
    currency="word",
    total_minor="bigint",
    identity_kind="word?",
    identity="bytea?",
    programmes="text[]?",
    lines="json",
    recorded_event_id="uuid",
    stream_id="text?",
    source="word?",
    event_id="text?",
    tenders="json?",
    effects_applied="json?",
)
DECISIONS = Rows(
    "decisions",
    bill_id="uuid",
    n="smallint",
    status="word",
    decided_at="timestamptz",
    sequence="integer",
    decision="json",
)
ACCRUALS = Rows("accruals", bill_id="uuid", wallet_id="uuid", kind="word", accrual_id="uuid", points="bigint")


def bill_row(
    bill_id: UUID,
    bill: RecordBill,
    *,
    recorded_event_id: UUID,
    entry: tuple[str | None, str | None, str | None],
) -> Row:
    """A new bill as it is written. `entry`: stream id, source and id of the till's event."""
    kind, identity = bill.identity if bill.identity is not None else (None, None)
    return BILLS.row(
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
        bill.lines_json,
        recorded_event_id,
        *entry,
        tenders_json(bill.tenders),
        claims_json(bill.claims),
    )


def decision_row(bill_id: UUID, decision: Decision, *, n: int, decided_at: datetime, sequence: int) -> Row:
    """A bill's decision number `n` as it is written; `sequence` is that of the last event that it said."""
    return DECISIONS.row(bill_id, n, decision.status, decided_at, sequence, encode_decision(decision))


async def write_bills(db: Connection, rows: Sequence[Row]) -> None:
    """New bills."""
    await BILLS.copy(db, rows)


async def write_decisions(db: Connection, rows: Sequence[Row]) -> None:
    """New decisions."""
    await DECISIONS.copy(db, rows)


async def write_accruals(db: Connection, rows: Sequence[Row]) -> None:
    """New accruals."""
    await ACCRUALS.copy(db, rows)


async def bill_by_id(db: Connection, bill_id: UUID) -> Any:
    """The bill's row, or None."""
    for since, until in (recorded_about(bill_id), EVER):
        found = await queries.bill_by_id(db, bill_id=bill_id, since=since, until=until)
        if found is not None:
            return found
    return None


async def bill_by_ref(db: Connection, merchant: str, bill_ref: str) -> Any:
    """The row of the bill with this reference, or None."""
    return await queries.bill_by_ref(db, merchant=merchant, bill_ref=bill_ref)


async def decisions_of(db: Connection, bill: Any) -> list[Judgement]:
    """Every decision about the bill of this row, in their order."""
    rows = await queries.decisions_of(db, bill_id=bill["bill_id"], bill_recorded_at=bill["recorded_at"])
    return [Judgement(row["n"], row["decided_at"], decode_decision(row["decision"])) for row in rows]


async def bills_of_wallet(
    db: Connection, wallet_id: UUID, *, merchant: str | None, before: UUID | None, most: int
) -> list[tuple[Any, Decision]]:
    """Rows of bills that were judged for the wallet (of one merchant's, if given) with their latest decision, newest first, from
    before that id on."""
    rows = await queries.bills_of_wallet(db, wallet_id=wallet_id, merchant=merchant, before=before, most=most)
    return [(row, decode_decision(row["decision"])) for row in rows]
