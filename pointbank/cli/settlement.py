"""Settlement: what merchants and banks say of days, against what bills say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pointbank.cli.options import VAR, AsJson, State, TenantOption
from pointbank.cli.say import out, print_json

group = typer.Typer(help="Daily totals and deposits, against what bills say.", no_args_is_help=True)

Url = Annotated[str, typer.Option(help="Where earn is served.")]
Token = Annotated[
    str | None, typer.Option(envvar="POINTBANK_TOKEN", help="A token; else one of the state folder's keys.")
]
HERE = "http://127.0.0.1:8080"


@group.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(exists=True, help="CSV: merchant, day, total, deposit, reference, currency.")
    ],
    programme: Annotated[
        str, typer.Option(help="Its zone says when a day begins, its currency what amounts are in.")
    ],
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Takes what a file says of merchants' days; the same file again does nothing."""
    from pointbank.settlement import BadFile, import_file

    try:
        done = _with_api(
            tenant,
            url,
            token,
            state,
            lambda api: import_file(api, file, programme=programme, said=lambda _: None),
        )
    except BadFile as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        print_json(done)
    else:
        out.print(f"{done['imported']:,} lines are new, {done['known']:,} were known.")


@group.command("check")
def check(
    from_: Annotated[str | None, typer.Option("--from", help="The first day; else two months ago.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="The last day; else today.")] = None,
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Holds what was said of days against the bills, as every night. Exit 1: there are variances."""
    from shared.ids import uuid7

    body = {"from_day": from_, "to_day": to}
    key = f"settlement-check-{uuid7()}"
    done = _with_api(
        tenant,
        url,
        token,
        state,
        lambda api: api.call("POST", "/v1/settlements/check", body, key=key, role="operator"),
    )
    if as_json:
        print_json(done)
    else:
        out.print(
            f"{done['compared']:,} days compared, {done['variances']:,} vary, {done['closed']:,} agree by now."
        )
    if done["variances"]:
        raise typer.Exit(1)


@group.command("list")
def list_variances(
    only: Annotated[str | None, typer.Option("--only", help="open, explained or closed.")] = None,
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Tells days that are off by more than half a minor unit, the newest first."""
    from rich.table import Table

    asked = "/v1/settlements/variances?limit=200" + (f"&state={only}" if only else "")

    async def all_pages(api: Any) -> list[Any]:
        items: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            found = await api.call("GET", asked + cursor, role="finance")
            items += found["items"]
            cursor = None if found["next_cursor"] is None else f"&cursor={found['next_cursor']}"
        return items

    items = _with_api(tenant, url, token, state, all_pages, role="finance")
    if as_json:
        print_json({"items": items})
        return
    table = Table(
        "variance",
        "merchant",
        "day",
        "kind",
        "bills say, minor",
        "said, minor",
        "currency",
        "missing",
        "state",
        "owner",
    )
    for one in items:
        table.add_row(
            one["variance_id"],
            one["merchant"],
            one["day"],
            one["kind"],
            f"{one['expected_minor']:,}",
            one["found_minor"],
            one["currency"],
            one["missing"] or "",
            one["state"],
            one["owner"] or "",
        )
    out.print(table)


@group.command("resolve")
def resolve(
    variance_id: str,
    to: Annotated[str | None, typer.Option("--as", help="explained, closed or open.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who looks after it.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept.")] = None,
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Gives a variance to somebody, explains or closes it."""
    from shared.ids import uuid7

    body = {"owner": owner, "state": to, "reason": reason}
    path = f"/v1/settlements/variances/{variance_id}"
    one = _with_api(
        tenant,
        url,
        token,
        state,
        lambda api: api.call("POST", path, body, key=f"variance-{uuid7()}", role="finance"),
        role="finance",
    )
    if as_json:
        print_json(one)
    else:
        out.print(f"{one['merchant']} on {one['day']} is {one['state']}, with {one['owner'] or 'nobody'}.")


def _with_api(
    tenant: str,
    url: str,
    token: str | None,
    state: Path,
    do: Callable[[Any], Awaitable[Any]],
    *,
    role: str = "operator",
) -> Any:
    import asyncio

    from pointbank.api import Api
    from pointbank.tokens import dev_keys, issue

    chosen = token or issue(dev_keys(state / "keys"), role=role, tenant=tenant, subject=f"{role}@{tenant}")

    async def run() -> Any:
        async with Api(url, lambda _: chosen, connections=1) as api:
            return await do(api)

    return asyncio.run(run())
