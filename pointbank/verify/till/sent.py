"""A bill's body as the till sent it, and as earn keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from pointbank.verify.earning.decisions import KeptLine, decode_lines

_time = msgspec.json.Decoder(datetime).decode
_encode = msgspec.json.Encoder().encode


def differences(body: dict[str, Any], row: Any) -> Iterator[tuple[str, Any, Any]]:
    """(field, as it was sent, as it is kept), for each that differs."""
    sent = as_kept(body)
    for field, value in sent.items():
        kept = row[field] if field != "lines" else decode_lines(row["lines"])
        if field == "programmes" and kept is not None:
            kept = list(kept)
        if value != kept:
            yield field, value, kept


def as_kept(body: dict[str, Any]) -> dict[str, Any]:
    """A bill's body as earn keeps it."""
    member = {kind: value for kind, value in (body.get("member") or {}).items() if value is not None}
    programmes = body.get("programmes")
    lines = tuple(
        KeptLine(
            line["line_id"],
            line["amount_minor"],
            line.get("sku"),
            tuple(line.get("categories") or ()),
            quantity(line.get("quantity")),
            line.get("discount_minor") or 0,
            line.get("tax_minor") or 0,
        )
        for line in body["lines"]
    )
    return {
        "merchant": body["merchant"],
        "bill_ref": body["bill_ref"],
        "terminal": body.get("terminal"),
        "cashier": body.get("cashier"),
        "channel": body.get("channel"),
        "occurred_at": _time(_encode(body["occurred_at"])).astimezone(UTC),
        "currency": body["currency"],
        "total_minor": body["total_minor"],
        "identity_kind": next(iter(member), None),
        "programmes": sorted(set(programmes)) if programmes else None,
        "lines": lines,
    }


def quantity(text: str | None) -> str | None:
    """The shortest decimal of the same value."""
    if text is None:
        return None
    shortest = f"{Decimal(text):f}"
    return shortest.rstrip("0").rstrip(".") if "." in shortest else shortest
