"""A refund as its caller was told, and as it was sent, against what is kept of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pointbank.verify.till.refunds import MOVED, altered, is_refund, untrue

KEPT = {
    "refund_ref": "R-1", "currency": "SAR", "bill_id": "b", "refunded_minor": 4500, "status": "completed", "merchant": "mall",
    "bill_ref": "B-1", "terminal": "T01", "cashier": None, "channel": "store",
    "occurred_at": datetime(2026, 11, 23, 9, tzinfo=UTC), "asked": '{"lines":[{"line_id":"1","amount_minor":4500}]}',
}  # fmt: skip
SENT = {
    "bill": {"merchant": "mall", "bill_ref": "B-1"}, "refund_ref": "R-1", "occurred_at": "2026-11-23T12:00:00+03:00",
    "merchant": "mall", "terminal": "T01", "channel": "store", "currency": "SAR",
    "lines": [{"line_id": "1", "amount_minor": 4500}],
}  # fmt: skip


def moved(*, late: int = 0, **points: int) -> dict[str, Any]:
    row: dict[str, Any] = {"wallet_id": "w"}
    for name in MOVED:
        row[name] = row[f"{name}_by_now"] = points.get(name, 0)
    row["reversed_by_now"] += late
    row["shortfall_by_now"] -= late
    return row


def told(status: str = "completed", *, points: dict[str, int] | None = None, **other: Any) -> dict[str, Any]:
    worths = {name: {"points": (points or {}).get(name, 0)} for name in MOVED}
    reversals = [{"wallet_id": "w", **worths}] if points is not None else []
    base = {"refund_ref": "R-1", "currency": "SAR", "bill_id": "b", "refunded_minor": 4500}
    return {**base, "status": status, "reversals": reversals, **other}


def wrong(answer: dict[str, Any], *rows: dict[str, Any], **kept: Any) -> list[str]:
    return [what for what, _, _ in untrue(answer, {**KEPT, **kept}, rows)]


def test_what_was_told_of_a_refund_that_is_settled_is_what_is_kept() -> None:
    assert wrong(told(points={"reversed": 54}), moved(reversed=54)) == []
    assert wrong(told(points={"reversed": 55}), moved(reversed=54)) == ["reversed of wallet w"]
    assert wrong(told(), moved(reversed=54)) == ["reversed of wallet w"]
    assert wrong(told(points={"returned": 1})) == ["returned of wallet w"]


def test_what_came_late_may_be_told_and_may_not() -> None:
    books = moved(reversed=50, shortfall=4, late=4)
    assert wrong(told(points={"reversed": 50, "shortfall": 4}), books) == []
    assert wrong(told(points={"reversed": 54, "shortfall": 0}), books) == []
    assert wrong(told(points={"reversed": 55}), books) == ["reversed of wallet w"]


@pytest.mark.parametrize(
    ("said", "kept", "broken"),
    [
        ("pending", "queued", []),
        ("pending", "completed", []),
        ("waiting_for_bill", "refused", []),
        ("pending", "waiting_for_bill", ["status"]),
        ("completed", "refused", ["status"]),
        ("refused", "pending", ["status"]),
    ],
)
def test_a_refund_goes_on_and_never_back(said: str, kept: str, broken: list[str]) -> None:
    assert wrong(told(said), status=kept) == broken


def test_amounts_and_bills_are_those_that_were_told_once_the_bill_has_come() -> None:
    assert wrong(told("pending"), status="pending", refunded_minor=4400) == ["refunded_minor"]
    assert wrong(told("pending"), status="pending", bill_id="other") == ["bill_id"]
    assert wrong(told("waiting_for_bill", bill_id=None, refunded_minor=None), status="pending") == []
    assert wrong(told("pending", points={"reversed": 1}), moved(reversed=1), status="pending") == [
        "reversals"
    ]


@pytest.mark.parametrize(
    ("field", "value", "broken"),
    [
        ("lines", [{"line_id": "1", "amount_minor": 4500}], []),
        ("occurred_at", "2026-11-23T09:00:00Z", []),
        ("occurred_at", "2026-11-23T09:00:01Z", ["occurred_at"]),
        ("cashier", "c090", ["cashier"]),
        ("bill", {"merchant": "mall", "bill_ref": "B-2"}, ["bill_ref"]),
        ("lines", [{"line_id": "1", "amount_minor": 4501}], ["what is asked"]),
        ("lines", [{"line_id": "1"}], ["what is asked"]),
        ("all", True, ["what is asked"]),
    ],
)
def test_what_was_sent_is_what_is_kept(field: str, value: Any, broken: list[str]) -> None:
    assert [one for one, _, _ in altered({**SENT, field: value}, KEPT)] == broken


def test_refunds_are_recorded_at_two_paths() -> None:
    assert [is_refund(path) for path in ("/v1/refunds", "/v1/bills/b/refunds", "/v1/bills")] == [
        True,
        True,
        False,
    ]
