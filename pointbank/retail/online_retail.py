"""The Online Retail file (UCI, CC BY 4.0) read as a till's day book: invoices into members and bills.

One CSV row is one line of an invoice. An invoice whose number begins with C is a cancellation. Of a sale, lines
whose quantity is not positive are left out; a line is known by its position in the invoice, a sale by its first
line's time and customer.
"""

from __future__ import annotations

import csv
import gzip
import re
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

COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
MONTH_FIRST = "%m/%d/%Y %H:%M"
WRITE_A_TIME = "write it as 2010-12-01T08:26:00, or with the month first, as 12/1/2010 8:26"

_LONDON = ZoneInfo("Europe/London")
_WHOLE = re.compile(r"-?[0-9]{1,9}").fullmatch
_PRICE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?").fullmatch


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
    try:
        with _text_of(file) as text:
            yield from _invoices(csv.DictReader(text))
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise NotOnlineRetail(
            f"{file} is no CSV in UTF-8, gzipped where its name ends in .gz: {error}"
        ) from error
    except _Wrong as wrong:
        raise NotOnlineRetail(f"{file}, {wrong}") from wrong


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


class _Wrong(ValueError):
    """A line, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the file; what it says is read when it is asked for, and what can't be is _Wrong."""

    number: int
    said: dict[str, str]

    @property
    def occurred_at(self) -> datetime:
        """London's time: ISO 8601, or as the common export of the data set has it, the month first."""
        text = self.said["InvoiceDate"].strip()
        try:
            if "/" in text:
                return datetime.strptime(text, MONTH_FIRST).replace(tzinfo=_LONDON)
            return datetime.fromisoformat(text).replace(tzinfo=_LONDON)
        except ValueError:
            raise self.wrong(f"InvoiceDate {text!r} is no time; {WRITE_A_TIME}") from None

    @property
    def quantity(self) -> int:
        text = self.said["Quantity"].strip()
        if not _WHOLE(text):
            raise self.wrong(f"Quantity {text!r} is no whole number")
        return int(text)

    def minor(self, quantity: int) -> int:
        """What so many come to, in whole pence."""
        price = self.said["UnitPrice"].strip()
        if not _PRICE(price):
            raise self.wrong(f"UnitPrice {price!r} is no price; write it in pounds, as 2.55")
        amount = quantity * Fraction(price) * 100
        if amount.denominator != 1:
            raise self.wrong(f"{quantity} at {price} is no sum in whole pence")
        return amount.numerator

    def wrong(self, what: str) -> _Wrong:
        return _Wrong(f"line {self.number}: {what}")


def _invoices(rows: csv.DictReader[str]) -> Iterator[Invoice]:
    by_number: dict[str, list[_Row]] = {}
    for row in _numbered(rows):
        by_number.setdefault(row.said["InvoiceNo"], []).append(row)
    for number, own in by_number.items():
        yield _invoice(number, own)


def _numbered(rows: csv.DictReader[str]) -> Iterator[_Row]:
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        *most, last = missing
        are = f"columns {', '.join(most)} and {last} are" if most else f"column {last} is"
        raise _Wrong(f"line 1: the {are} missing")
    for said in rows:
        number = rows.line_num
        if None in said:
            raise _Wrong(
                f"line {number} has more columns than line 1; a comma within a text needs quotes around it"
            )
        if None in said.values():
            raise _Wrong(f"line {number} has fewer columns than line 1")
        row = _Row(number, said)
        if not said["InvoiceNo"]:
            raise row.wrong("InvoiceNo is empty")
        yield row


def _invoice(number: str, rows: list[_Row]) -> Invoice:
    occurred_at = rows[0].occurred_at
    customer = rows[0].said["CustomerID"] or None
    if number.startswith("C"):
        return Invoice(number, customer, occurred_at, None, tuple([_cancelled(row) for row in rows]))
    lines = [_line(position, row) for position, row in enumerate(rows, start=1) if row.quantity > 0]
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


def _cancelled(row: _Row) -> tuple[str, int]:
    if row.quantity > 0:
        raise row.wrong(f"Quantity {row.quantity} of a cancellation is above zero")
    return row.said["StockCode"], row.minor(-row.quantity)


def _line(position: int, row: _Row) -> dict[str, Any]:
    return {
        "line_id": str(position),
        "sku": row.said["StockCode"],
        "categories": [],
        "quantity": str(row.quantity),
        "amount_minor": row.minor(row.quantity),
        "discount_minor": 0,
        "tax_minor": 0,
    }
