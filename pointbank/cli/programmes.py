"""Programmes: whether a draft has mistakes, and what it would have given."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.reading import text_of
from pointbank.cli.say import counted, err, out, print_json, print_table, table_of

group = typer.Typer(help="Programmes: drafts, before anybody is asked to take them.", no_args_is_help=True)


@group.command("check")
def check(
    draft: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A JSON file of a programme document.")
    ],
    as_json: AsJson = False,
) -> None:
    """Tells all mistakes of a programme document, those that would keep it from being activated too. No server is asked. Exit 1:
    there are some; 2: the file can't be read."""
    from pointbank.reports.drafts import judge

    document = _read(draft)
    found = judge(draft.read_bytes(), document)
    name = found.programme or "It"
    count = counted(len(found.mistakes), "mistake")
    if as_json:
        print_json(found.shown())
    elif found.activated:
        out.print(
            f"{name} has no mistakes: {_size(document)}. "
            "A programme that is active keeps its currency and time zone besides.",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    else:
        for mistake in found.mistakes:
            err.print(
                f"{mistake.pointer or '/'}: {mistake.detail}", highlight=False, markup=False, soft_wrap=True
            )
        so = "it can be drafted, and not activated" if found.drafted else "it can't be drafted"
        err.print(f"{name} has {count}: {so}.", style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(0 if found.activated else 1)


def _size(document: dict[str, Any]) -> str:
    """What a document without mistakes consists of."""
    earning, tiers = document["earning"], document.get("tiers") or {}
    parts = [
        counted(len(earning.get(field) or ()), field.removesuffix("s").replace("_", " "))
        for field in ("rules", "campaigns", "stamp_cards", "acts")
    ]
    return ", ".join([*parts, counted(len(tiers.get("ladder") or ()), "tier")])


@group.command("simulate")
def simulate(
    draft: Annotated[str, typer.Argument(help="A JSON file of a programme document, or code@version.")],
    from_: Annotated[
        str, typer.Option("--from", help="Bills from then on: a day of the programme's zone, or a time.")
    ],
    to: Annotated[str, typer.Option("--to", help="Until then, not included.")],
    tenant: TenantOption = "demo",
    as_json: AsJson = False,
) -> None:
    """Runs a draft's earning over bills that were, and tells what it would have given. Read by the auditor; nothing is written."""
    import asyncio

    from rich.progress import Progress

    from pointbank.logins import UnknownTenant, log_in
    from pointbank.reports.simulation import NoSuchVersion, read_draft, simulate
    from shared.config import Settings
    from shared.errors import Refusal
    from shared.programme.validation import validate

    written = _read(Path(draft)) if Path(draft).is_file() else None

    async def run() -> Any:
        db = await log_in(Settings(), tenant, "auditor")
        try:
            document = written if written is not None else await read_draft(db, *_version(draft))
            from_at, to_at = _span(document, from_, to)
            with Progress(console=err, transient=True) as progress:
                bar = progress.add_task("bills", total=None)
                return await simulate(
                    db,
                    document,
                    from_at=from_at,
                    to_at=to_at,
                    said=lambda done, of: progress.update(bar, completed=done, total=of),
                )
        finally:
            await db.close()

    try:
        if written is not None:
            _span(written, from_, to)
            validate(written)
        found = asyncio.run(run())
    except (UnknownTenant, NoSuchVersion, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    except Refusal as refusal:
        for mistake in refusal.errors:
            err.print(f"{mistake.pointer}: {mistake.detail}")
        raise typer.Exit(1) from refusal
    if as_json:
        print_json(found.shown())
    else:
        _show(found.shown())


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(text_of(file))
    except ValueError as error:
        raise typer.BadParameter(f"{file} is no JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("programme", {}), dict):
        raise typer.BadParameter(f"{file} is no programme document (docs/programme.md)")
    return document


def _span(document: dict[str, Any], from_: str, to: str) -> tuple[datetime, datetime]:
    zone = _zone(document)
    from_at, to_at = _moment(from_, zone), _moment(to, zone)
    if from_at >= to_at:
        raise typer.BadParameter(f"--from {from_} is not before --to {to}")
    return from_at, to_at


def _zone(document: dict[str, Any]) -> ZoneInfo:
    """The programme's; of one that is none, UTC: that mistake is told with the others."""
    try:
        return ZoneInfo(str(document.get("programme", {}).get("time_zone", "UTC")))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is no day and no time") from error
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def _version(draft: str) -> tuple[str, int]:
    programme, at, version = draft.partition("@")
    if not at or not version.isdigit():
        raise typer.BadParameter(f"{draft} is no file, and no version as in shops@3")
    return programme, int(version)


def _show(found: Any) -> None:
    table = table_of("*of", "happened", "draft", "difference")

    def row(name: str, one: Any) -> None:
        table.add_row(name, f"{one['happened']:,}", f"{one['draft']:,}", f"{one['difference']:+,}")

    for name in ("points", "available", "held"):
        row(name, found[name])
    row(f"cost, {found['currency']} minor", found["cost_minor"])
    for kind in ("campaigns", "tiers"):
        for name, one in found[kind].items():
            row(f"{kind[:-1]} {name or 'none'}", one)
    effects = found["effects"]
    for name, one in effects["all"].items():
        row(name.replace("_", " "), one)
    for kind in ("campaigns", "stamp_cards", "tiers"):
        for code, measured in effects[kind].items():
            for name, one in measured.items():
                if one["happened"] or one["draft"]:
                    of = f"{kind[:-1].replace('_', ' ')} {code or 'none'}"
                    row(f"{of}: {name.replace('_', ' ')}", one)
    print_table(table)
    out.print(
        f"{found['judged']:,} of {found['bills']:,} bills of members: {found['more']:,} would have earned more, "
        f"{found['less']:,} less, {found['same']:,} the same; {found['passed_over']:,} would be passed over, "
        f"and count on neither side: they got {found['passed_over_points']:,} points."
    )
