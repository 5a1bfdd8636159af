"""Checks a replay of an Online Retail file without Pointbank's code: points = earned - reversed, for every member.

    python docs/online_retail_check.py FILE.csv.gz DSN

FILE is what was replayed with `pointbank replay --online-retail FILE --refunds`; DSN is a login that may read the tenant's database
(the auditor's). It reads the file by itself, works out what each customer must have, and compares that with the bank's wallets and
with its ledger. Who is who it takes from the bills: an invoice number names one customer there and here.
"""

import asyncio
import csv
import gzip
import sys
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import asyncpg


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def moment(text: str) -> datetime:
    """ISO 8601, or the month first, as the common export of the data set has it."""
    if "/" in text:
        return datetime.strptime(text, "%m/%d/%Y %H:%M")  # noqa: DTZ007  # only told apart, all in one zone
    return datetime.fromisoformat(text)


def read(file: str) -> list[tuple[datetime, str, str, list[dict[str, str]]]]:
    """(time, number, customer, rows) of each invoice, by time."""
    raw = Path(file).read_bytes()
    text = (gzip.decompress(raw) if file.endswith(".gz") else raw).decode("utf-8-sig")
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in csv.DictReader(text.splitlines()):
        rows[row["InvoiceNo"]].append(row)
    return sorted(
        [(moment(own[0]["InvoiceDate"]), number, own[0]["CustomerID"], own) for number, own in rows.items()],
        key=lambda one: one[0],
    )


def pence(row: dict[str, str], sign: int) -> int:
    amount = sign * int(row["Quantity"]) * Decimal(row["UnitPrice"]) * 100
    assert amount == int(amount), row
    return int(amount)


def expected(file: str) -> tuple[dict[str, str], dict[str, int], dict[str, int]]:
    """Invoice -> customer; customer -> points earned, and taken back: a point a whole pound, back in proportion."""
    customer_of: dict[str, str] = {}
    earned: dict[str, int] = defaultdict(int)
    total: dict[str, int] = {}
    refunded: dict[str, int] = defaultdict(int)
    left: dict[tuple[str, str], list[list[Any]]] = defaultdict(
        list
    )  # customer, product -> [invoice, pence], oldest first
    for _, together in groupby(read(file), key=lambda one: one[0]):
        invoices = list(together)
        for _, number, customer, rows in invoices:
            if number.startswith("C") and customer:
                for row in rows:
                    wanted = pence(row, -1)
                    for line in left[customer, row["StockCode"]][::-1]:
                        part = min(wanted, line[1])
                        line[1] -= part
                        wanted -= part
                        refunded[line[0]] += part
        for _, number, customer, rows in invoices:
            if not number.startswith("C") and customer:
                customer_of[number] = customer
                sold = [row for row in rows if int(row["Quantity"]) > 0]
                total[number] = sum(pence(row, 1) for row in sold)
                earned[customer] += total[number] // 100
                for row in sold:
                    left[customer, row["StockCode"]].append([number, pence(row, 1)])
    back: dict[str, int] = defaultdict(int)
    for number, part in refunded.items():
        if part:
            back[customer_of[number]] += total[number] // 100 * part // total[number]
    return customer_of, dict(earned), dict(back)


async def main(file: str, dsn: str) -> int:
    customer_of, earned, back = expected(file)
    db = await asyncpg.connect(dsn)
    try:
        bills = await db.fetch(
            "SELECT DISTINCT b.bill_ref, a.wallet_id FROM earn.bills AS b JOIN earn.accruals AS a ON a.bill_id = b.bill_id"
        )
        wallets = await db.fetch(
            """
            SELECT w.wallet_id, w.available, w.held + w.reserved + w.redeemed + w.expired + w.debt AS others,
                (SELECT coalesce(sum(l.points), 0)::bigint FROM redeem.ledger AS l
                 WHERE l.wallet_id = w.wallet_id AND l.from_bucket = 'issued') AS earned,
                (SELECT coalesce(sum(l.points), 0)::bigint FROM redeem.ledger AS l
                 WHERE l.wallet_id = w.wallet_id AND l.to_bucket = 'reversed') AS reversed
            FROM redeem.wallets AS w
            """
        )
    finally:
        await db.close()
    wallet_of = {
        customer_of[row["bill_ref"]]: row["wallet_id"] for row in bills if row["bill_ref"] in customer_of
    }
    found = {row["wallet_id"]: row for row in wallets}
    wrong = 0
    for customer, points in earned.items():
        row = found.get(wallet_of.get(customer))
        has = (
            (0, 0, 0, 0) if row is None else (row["earned"], row["reversed"], row["available"], row["others"])
        )
        must = (points, back.get(customer, 0), points - back.get(customer, 0), 0)
        if has != must:
            wrong += 1
            say(f"customer {customer}: earned, reversed, available, others are {has}, must be {must}")
    say(
        f"{len(earned)} members: {sum(earned.values())} points earned, {sum(back.values())} reversed, "
        f"{sum(earned.values()) - sum(back.values())} left; {wrong} members differ"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2])))
