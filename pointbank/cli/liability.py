"""What is owed to members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import out, print_json, print_table, table_of
from pointbank.cli.writing import whole_file

if TYPE_CHECKING:
    from pointbank.reports.liability import Owed


def liability(
    tenant: TenantOption = "demo",
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            help="Only what was written before then: a day (its beginning, in each programme's zone) or a time with its offset. "
            "A moment that is over for five minutes changes no more.",
        ),
    ] = None,
    programme: Annotated[str | None, typer.Option("--programme", help="Without it each programme.")] = None,
    wallets: Annotated[
        Path | None,
        typer.Option(
            "--wallets",
            metavar="FILE",
            help="Write a CSV of each wallet that has or owes points: they add up to it.",
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="A row for each programme.")] = False,
    as_json: AsJson = False,
) -> None:
    """Says what is owed to members, in points and money: points, gift cards and open benefits of each programme. It is summed from
    the lines of the ledgers, by when they were written. What is over and not swept yet is in it: asked as of now,
    `pointbank expire` first."""
    import asyncio

    from pointbank.reports.liability import WALLET, read_liability
    from shared.config import Settings

    if as_csv and as_json:
        raise typer.BadParameter("only one of --csv, --json", param_hint="--csv")
    moment = None if at is None else _moment(at)
    with whole_file(wallets, "w", encoding="utf-8", newline="") as file:
        each = None if file is None else _rows(file, WALLET)
        found = asyncio.run(read_liability(Settings(), tenant, programme=programme, at=moment, each=each))
    if as_json:
        print_json({"items": [one.shown() for one in found]})
    elif as_csv:
        _csv(found)
    else:
        _show(found)


def _moment(text: str) -> datetime | date:
    from shared.clock import as_utc, check_day

    try:
        if len(text) == len("2026-12-01"):
            return check_day(date.fromisoformat(text))
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        return as_utc(moment)
    except ValueError:
        raise typer.BadParameter(
            f"{text} is no day and no time, as 2026-12-01 or 2026-12-01T00:00:00+03:00", param_hint="--at"
        ) from None


def _rows(file: Any, head: Sequence[str]) -> Any:
    import csv

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    return writer.writerows


def _csv(found: Sequence[Owed]) -> None:
    import sys

    from pointbank.reports.liability import FLAT

    _rows(sys.stdout, FLAT)(
        [str(value).lower() if isinstance(value, bool) else value for value in one.shown().values()]
        for one in found
    )


def _show(found: Sequence[Owed]) -> None:
    if not found:
        out.print("No programme was ever active.")
        return
    table = table_of("*programme", "of", "points", "in minor units")
    for one in found:
        for bucket in ("available", "held", "reserved"):
            table.add_row(one.programme, bucket, f"{one.points[bucket]:,}", "")
        table.add_row(one.programme, "points in all", f"{one.owed_points:,}", _money(one, "points"))
        for kind in ("gift_cards", "benefits"):
            table.add_row(one.programme, kind.replace("_", " "), "", _money(one, kind))
        table.add_row(one.programme, "owed in all", "", f"{one.owed_minor:,} {one.currency}")
        if one.points["debt"]:
            table.add_row(
                one.programme,
                "members owe",
                f"{-one.points['debt']:,}",
                f"{-one.minor['debt']:,} {one.currency}",
            )
    print_table(table)
    worth = "; ".join(
        f"{one.programme}: {one.point_value} {one.currency} a point, by version {one.version}"
        for one in found
    )
    out.print(worth, highlight=False, markup=False, soft_wrap=True)


def _money(one: Owed, kind: str) -> str:
    return f"{one.minor[kind]:,} {one.currency}"
