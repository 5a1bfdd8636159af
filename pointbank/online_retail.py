"""The Online Retail file (UCI, CC BY 4.0) read as a till's day book: invoices into members and bills.

One CSV row is one line of an invoice. An invoice whose number begins with C is a cancellation. Of a sale, lines
whose quantity is not positive are left out; a line is known by its position in the invoice, a sale by its first
line's time and customer.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

MERCHANT = "uci-retailer"
TERMINAL = "WEB"
SOURCE = f"/pos/{MERCHANT}/{TERMINAL}"
CURRENCY = "GBP"
MERCHANT_BODY: dict[str, Any] = {
    "brand": "online-retail",
    "name": {"en": "Online Retail", "ar": "متجر التجزئة"},
    "terminals": [TERMINAL],
}

_LONDON = ZoneInfo("Europe/London")


class NotOnlineRetail(ValueError):
    """The file is no Online Retail file; the message names the line that shows it."""


@dataclass(frozen=True)
class Invoice:
    """`bill` is the contract's body, None for a cancellation; `customer` None is an anonymous sale. `cancelled`: product and
    amount in minor units of each line of a cancellation."""

    number: str
    customer: str | None
    occurred_at: datetime
    bill: dict[str, Any] | None
    cancelled: tuple[tuple[str, int], ...] = ()

    @property
    def told_at(self) -> str:
        """When it happened, as the contract writes it."""
        return self.occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def invoices(file: Path) -> Iterator[Invoice]:
    """The invoices of a CSV file, gzipped or not, by their first lines; NotOnlineRetail names a line that is none."""
    by_number: dict[str, list[dict[str, str]]] = {}
    try:
        with _text_of(file) as text:
            for row in _numbered(csv.DictReader(text)):
                by_number.setdefault(row["InvoiceNo"], []).append(row)
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise NotOnlineRetail(
            f"{file} is no CSV in UTF-8, gzipped where its name ends in .gz: {error}"
        ) from error
    for number, rows in by_number.items():
        yield _invoice(number, rows)


def external_id(customer: str) -> str:
    """The member's external id: the customer number as it stands in the file."""
    return customer


def expected_points(found: Invoice) -> int:
    """Whole pounds of the bill for a member, by this module's own arithmetic; 0 when anonymous or cancelled."""
    return found.bill["total_minor"] // 100 if found.bill and found.customer else 0


def _text_of(file: Path) -> IO[str]:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _numbered(rows: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    for row in rows:
        if not row.get("InvoiceNo") or row.get("CustomerID") is None:
            raise NotOnlineRetail(f"line {rows.line_num} is not a line of an Online Retail file")
        yield {**row, "": str(rows.line_num)}


def _invoice(number: str, rows: list[dict[str, str]]) -> Invoice:
    first = rows[0]
    occurred_at = datetime.fromisoformat(first["InvoiceDate"]).replace(tzinfo=_LONDON)
    customer = first["CustomerID"] or None
    if number.startswith("C"):
        cancelled = tuple([(row["StockCode"], _minor(row, -int(row["Quantity"]))) for row in rows])
        return Invoice(number, customer, occurred_at, None, cancelled)
    lines = [_line(position, row) for position, row in enumerate(rows, start=1) if int(row["Quantity"]) > 0]
    bill: dict[str, Any] = {
        "merchant": MERCHANT,
        "terminal": TERMINAL,
        "bill_ref": number,
        "channel": "ecom",
        "occurred_at": occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "currency": CURRENCY,
        "total_minor": sum(line["amount_minor"] for line in lines),
        "lines": lines,
    }
    if customer is not None:
        bill["member"] = {"external_id": external_id(customer)}
    return Invoice(number, customer, occurred_at, bill)


def _line(position: int, row: dict[str, str]) -> dict[str, Any]:
    amount_minor = _minor(row, int(row["Quantity"]))
    return {
        "line_id": str(position),
        "sku": row["StockCode"],
        "categories": [],
        "quantity": row["Quantity"],
        "amount_minor": amount_minor,
        "discount_minor": 0,
        "tax_minor": 0,
    }


def _minor(row: dict[str, str], quantity: int) -> int:
    """What a line comes to, in whole pence."""
    amount = quantity * Fraction(row["UnitPrice"]) * 100
    if amount.denominator != 1 or amount < 0:
        raise NotOnlineRetail(f"line {row['']}: {row['UnitPrice']} is not a price in whole pence")
    return amount.numerator
