"""What merchants accepted in points on a day, and as rows of CSV."""

from __future__ import annotations

import csv
from datetime import date
from typing import IO

from pointbank.desk import open_desk
from services.redeem.domain.statement import Figures, Statement
from services.redeem.store.statements import statements_of
from shared.config import Settings

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
        return await statements_of(db, merchant=merchant, programme=programme, day=day)


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
