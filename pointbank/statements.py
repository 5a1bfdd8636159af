"""`pointbank statement`: what merchants accepted in points on a day, as a table, JSON or CSV."""

from __future__ import annotations

import asyncio
import csv
import sys
from datetime import date
from typing import IO, Literal

import msgspec
from rich.console import Console

from pointbank.cli.say import print_json, print_table, table_of
from pointbank.desk import open_desk
from services.redeem.domain.statement import Figures, Statement
from services.redeem.store.statements import statements_of
from shared.config import Settings

Form = Literal["table", "json", "csv"]

COLUMNS = (
    "day", "programme", "currency", "merchant", "terminal", "captures", "captured_points", "captured_minor", "returns",
    "returned_points", "returned_minor", "accepted_points", "accepted_minor", "rewards_points", "rewards_minor", "settled",
)  # fmt: skip


async def read_statements(
    settings: Settings,
    tenant: str,
    *,
    merchant: str | None,
    programme: str | None,
    day: date | None,
) -> list[Statement]:
    """The statements of a day; raises UnknownTenant, and refuses as `statements_of`."""
    async with (
        open_desk(settings, tenant) as desk,
        desk.read() as db,
        db.transaction(isolation="repeatable_read", readonly=True),
    ):
        return await statements_of(db, desk.cache, merchant=merchant, programme=programme, day=day)


def run_statement(
    settings: Settings,
    tenant: str,
    *,
    merchant: str | None,
    programme: str | None,
    day: date | None,
    form: Form,
) -> None:
    """For the command line."""
    found = asyncio.run(read_statements(settings, tenant, merchant=merchant, programme=programme, day=day))
    match form:
        case "json":
            print_json(msgspec.to_builtins({"items": found}))
        case "csv":
            write_csv(found, sys.stdout)
        case "table":
            _show(found, Console(highlight=False), day)


def write_csv(found: list[Statement], out: IO[str]) -> None:
    """A row for each terminal; together they are the merchant's total. A terminal that nobody named is an empty field."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in found:
        for of in one.terminals:
            head = (one.day, one.programme, one.currency, one.merchant, of.terminal or "")
            writer.writerow((*head, *_numbers(of.figures), str(one.settled).lower()))


def _numbers(figures: Figures) -> tuple[int, ...]:
    f = figures
    return (
        f.captures, f.captured.points, f.captured.money.amount_minor, f.returns, f.returned.points,
        f.returned.money.amount_minor, f.accepted.points, f.accepted.money.amount_minor, f.rewards.points,
        f.rewards.money.amount_minor,
    )  # fmt: skip


def _show(found: list[Statement], out: Console, day: date | None) -> None:
    if not any(one.terminals for one in found):
        days = sorted({one.day.isoformat() for one in found} or ({day.isoformat()} if day else set()))
        out.print(f"Nothing was accepted on {' or '.join(days) or 'the last day that is over'}.")
        return
    table = table_of(
        "*day", "*programme", "*merchant", "*terminal", "captured", "returned", "accepted", "in minor units"
    )
    for one in found:
        lines = [(of.terminal or "-", of.figures) for of in one.terminals]
        for terminal, of in [*lines, ("all" if one.settled else "all so far", one.total)]:
            money = f"{of.accepted.money.amount_minor:,} {one.currency}"
            points = [f"{worth.points:,}" for worth in (of.captured, of.returned, of.accepted)]
            table.add_row(str(one.day), one.programme, one.merchant, terminal, *points, money)
    print_table(table)
