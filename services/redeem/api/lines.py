"""Lines and lots as they go out: with what asked for them, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from services.redeem.api.shapes import BucketsOut, MoneyOut, WorthOut
from services.redeem.store.reading import Value
from shared.money import Money

_SOURCES = {
    "earn": "bill_id",
    "earn_held": "bill_id",
    "release": "bill_id",
    "redeem": "redemption_id",
    "reserve": "redemption_id",
    "void": "redemption_id",
    "return": "redemption_id",
    "overdraw": "redemption_id",
    "transfer": "transfer_id",
    "adjust": "adjustment_id",
    "reinstate": "reinstatement_id",
    "merge": "merge_id",
}
"""What a line's source is, by its kind, where it is no act; what expired has that of what opened its lot. Of what was taken back or
repaid see `_taken_by`."""

_TAKEN_BACK = frozenset({"cancel_hold", "reverse", "owe"})

EARNED = frozenset({"earn", "earn_held"})


class SourceOut(BaseModel):
    """What asked for a line, or opened a lot: one of these. What a refund took back says the refund, and the bill or act that had
    earned it."""

    bill_id: UUID | None = None
    act_id: UUID | None = None
    refund_id: UUID | None = None
    redemption_id: UUID | None = None
    transfer_id: UUID | None = None
    adjustment_id: UUID | None = None
    reinstatement_id: UUID | None = None
    merge_id: UUID | None = None
    source_id: UUID | None = None


class LineOut(BaseModel):
    """One line of the ledger; `hash` chains it to the line before it (docs/ledger.md)."""

    seq: int
    posting_id: UUID
    kind: str
    from_: str = Field(alias="from")
    to: str
    points: int
    money: MoneyOut
    lot_id: UUID | None
    source: SourceOut | None
    effective_at: AwareDatetime
    posted_at: AwareDatetime
    balance: BucketsOut
    hash: str


class LedgerOut(BaseModel):
    items: list[LineOut]
    next_cursor: str | None


class LotOut(BaseModel):
    """Points earned together. `remaining` counts those held and reserved too; `kind` is that of the posting that opened it."""

    lot_id: UUID
    accrual_id: UUID
    kind: str | None
    source: SourceOut | None
    parent_lot: UUID | None
    earned_at: AwareDatetime
    expires_at: AwareDatetime | None
    points: WorthOut
    remaining: WorthOut
    held: WorthOut
    reserved: WorthOut


class LotsOut(BaseModel):
    items: list[LotOut]
    next_cursor: str | None


class AncestorOut(LotOut):
    wallet_id: UUID


class EarnedByOut(BaseModel):
    """What earned points: a bill, or an act."""

    bill_id: UUID | None = None
    act_id: UUID | None = None


class TraceOut(BaseModel):
    """A line's points back to what earned them: the lot that it names, the one that this was moved from, and so on. `earned_by`
    is the bill or act of the last; null where neither earned them, or the line names no lot."""

    wallet_id: UUID
    line: LineOut
    lots: list[AncestorOut]
    earned_by: EarnedByOut | None


def line_out(row: Any, value: Value) -> dict[str, Any]:
    """A LineOut."""
    return {
        "seq": row["seq"],
        "posting_id": row["posting_id"],
        "kind": row["kind"],
        "from": row["from_bucket"],
        "to": row["to_bucket"],
        "points": row["points"],
        "money": Money(row["money_minor"], value.currency),
        "lot_id": row["lot_id"],
        "source": _source_of_line(row),
        "effective_at": row["effective_at"],
        "posted_at": row["posted_at"],
        "balance": {
            "available": value.worth(row["available_after"]),
            "held": value.worth(row["held_after"]),
            "reserved": value.worth(row["reserved_after"]),
        },
        "hash": row["hash"].hex(),
    }


def lot_out(row: Any, value: Value) -> dict[str, Any]:
    """A LotOut."""
    return {
        "lot_id": row["lot_id"],
        "accrual_id": row["accrual_id"],
        "kind": row["kind"],
        "source": _source(row, row["kind"]),
        "parent_lot": row["parent_lot"],
        "earned_at": row["earned_at"],
        "expires_at": row["expires_at"],
        "points": value.worth(row["points"]),
        "remaining": value.worth(row["remaining"]),
        "held": value.worth(row["held"]),
        "reserved": value.worth(row["reserved"]),
    }


def earned_by(lots: Sequence[Any]) -> dict[str, UUID] | None:
    """An EarnedByOut, of a lot and those that it came from."""
    first = lots[-1] if lots else None
    if first is None or first["kind"] not in EARNED or first["parent_lot"] is not None:
        return None
    return _source(first, first["kind"])


def _source_of_line(row: Any) -> dict[str, UUID] | None:
    kind = row["kind"]
    if row["source_id"] is not None and (kind in _TAKEN_BACK or kind == "repay"):
        return _taken_by(row, kind)
    if kind == "reinstate" and row["source_id"] != row["posting_id"]:
        return {"redemption_id": row["source_id"]}  # what a person asks for is posted under its own id
    return _source(row, row["opened_by"] if kind == "expire" else kind)


def _taken_by(row: Any, kind: str) -> dict[str, UUID]:
    """Of what was taken back the refund, where one asked, and what had earned it; of what was repaid what brought the points."""
    source_id = row["source_id"]
    earned = {"act_id" if row["earned_by_act"] else "bill_id": row["earned_by"]}
    if row["by_redemption"]:
        return {"redemption_id": source_id}
    if source_id == row["earned_by"]:
        return earned
    if kind in _TAKEN_BACK:
        return {"refund_id": source_id} | (earned if row["earned_by"] is not None else {})
    return {"merge_id": source_id}


def _source(row: Any, kind: str | None) -> dict[str, UUID] | None:
    source_id = row["source_id"]
    if source_id is None:
        return None
    return {"act_id" if row["by_act"] else _SOURCES.get(kind or "", "source_id"): source_id}
