"""What merchants accepted on a day."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import out, print_json, print_table, table_of

if TYPE_CHECKING:
    from services.redeem.domain.statement import Statement


def statement(
    tenant: TenantOption = "demo",
    day: Annotated[
        str | None, typer.Option("--day", help="YYYY-MM-DD; without it the last day that is over.")
    ] = None,
    merchant: Annotated[
        str | None, typer.Option("--merchant", help="Without it all that accepted any.")
    ] = None,
    programme: Annotated[str | None, typer.Option("--programme", help="Without it each programme.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="A row for each terminal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Says what merchants accepted in points on a day, less what was returned, in money: by terminal and together. The day is the
    programme's own, by when it was written: one that is over changes no more."""
    import asyncio
    from datetime import UTC, date, datetime, timedelta

    import msgspec

    from pointbank.reports.statements import read_statements, write_csv
    from shared.clock import check_day
    from shared.config import Settings

    try:
        of_day = None if day is None else check_day(date.fromisoformat(day))
    except ValueError:
        raise typer.BadParameter("a day is written YYYY-MM-DD", param_hint="--day") from None
    if of_day is not None and of_day > (datetime.now(UTC) + timedelta(hours=14)).date():
        raise typer.BadParameter(f"{of_day} has not begun, in no zone", param_hint="--day")
    if as_csv and as_json:
        raise typer.BadParameter("only one of --csv, --json", param_hint="--csv")
    found = asyncio.run(
        read_statements(Settings(), tenant, merchant=merchant, programme=programme, day=of_day)
    )
    if as_json:
        print_json(msgspec.to_builtins({"items": found}))
    elif as_csv:
        write_csv(found, sys.stdout)
    else:
        _show(found, None if of_day is None else of_day.isoformat())


def _show(found: list[Statement], day: str | None) -> None:
    if not any(one.terminals for one in found):
        days = sorted({one.day.isoformat() for one in found} or ({day} if day else set()))
        out.print(
            f"Nothing was accepted on {' or '.join(days) or 'the last day that is over'}.", highlight=False
        )
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
