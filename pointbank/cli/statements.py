"""What merchants accepted on a day."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption


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
    from datetime import UTC, date, datetime, timedelta

    from pointbank.statements import run_statement
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
    run_statement(
        Settings(), tenant, merchant=merchant, programme=programme, day=of_day,
        form="csv" if as_csv else "json" if as_json else "table",
    )  # fmt: skip
