"""The cancellations of an Online Retail file as refunds: each line of one matched to earlier bills of its customer.

A cancelled line gives money back for a product. It is matched to the bills of the same customer that have that product and are
earlier, the most recent first, as far as anything of it is left to refund there; what is left then goes to the bill before. Where
no bill has anything left, the line, or its rest, is unmatched. A cancellation becomes one refund for each bill that it touches,
under the reference `<cancellation>/<bill>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pointbank.retail.online_retail import CURRENCY, MERCHANT, TERMINAL, Invoice


@dataclass
class Matched:
    """The refunds as the contract writes them, in the order of their cancellations; how many cancellations were matched wholly,
    in part, or not at all, and how many of their lines. Money in minor units."""

    refunds: list[dict[str, Any]] = field(default_factory=list)
    whole: int = 0
    partly: int = 0
    unmatched: int = 0
    lines: int = 0
    lines_whole: int = 0
    lines_partly: int = 0
    lines_unmatched: int = 0
    refunded_minor: int = 0
    unmatched_minor: int = 0


@dataclass
class _Left:
    """What is left to refund of a line of a bill."""

    bill_ref: str
    line_id: str
    amount_minor: int


def match(found: Iterable[Invoice]) -> Matched:
    """The cancellations of these invoices against the bills among them."""
    invoices = sorted(found, key=lambda one: one.occurred_at)
    earlier: dict[tuple[str, str], list[_Left]] = {}
    told = Matched()
    for now in _by_time(invoices):
        # What was rung up at the same moment is not earlier.
        for one in now:
            if one.bill is None:
                told.refunds += _refunds(one, earlier, told)
        for one in now:
            if one.bill is not None and one.customer is not None:
                for line in one.bill["lines"]:
                    left = _Left(one.number, line["line_id"], line["amount_minor"])
                    earlier.setdefault((one.customer, line["sku"]), []).append(left)
    return told


def _by_time(invoices: list[Invoice]) -> Iterator[list[Invoice]]:
    now: list[Invoice] = []
    for one in invoices:
        if now and one.occurred_at != now[0].occurred_at:
            yield now
            now = []
        now.append(one)
    if now:
        yield now


def _refunds(
    cancelled: Invoice, earlier: dict[tuple[str, str], list[_Left]], told: Matched
) -> Iterator[dict[str, Any]]:
    by_bill: dict[str, dict[str, int]] = {}
    whole = left = 0
    for sku, amount_minor in cancelled.cancelled:
        wanted = amount_minor
        for line in reversed(earlier.get((cancelled.customer or "", sku), [])):
            if part := min(wanted, line.amount_minor):
                line.amount_minor -= part
                wanted -= part
                lines = by_bill.setdefault(line.bill_ref, {})
                lines[line.line_id] = lines.get(line.line_id, 0) + part
        told.lines += 1
        told.refunded_minor += amount_minor - wanted
        told.unmatched_minor += wanted
        left += wanted
        whole += amount_minor
        if not wanted and amount_minor:
            told.lines_whole += 1
        elif wanted < amount_minor:
            told.lines_partly += 1
        else:
            told.lines_unmatched += 1
    if not left and whole:
        told.whole += 1
    elif left < whole:
        told.partly += 1
    else:
        told.unmatched += 1
    for bill_ref, lines in by_bill.items():
        yield {
            "bill": {"merchant": MERCHANT, "bill_ref": bill_ref},
            "refund_ref": f"{cancelled.number}/{bill_ref}",
            "merchant": MERCHANT,
            "terminal": TERMINAL,
            "channel": "ecom",
            "occurred_at": cancelled.told_at,
            "currency": CURRENCY,
            "lines": [{"line_id": line_id, "amount_minor": part} for line_id, part in lines.items()],
        }
