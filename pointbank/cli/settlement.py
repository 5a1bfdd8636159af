"""Settlement: what merchants and banks say of days, against what bills say."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from pointbank.cli.asking import a_day, one_of, with_api
from pointbank.cli.options import HERE, VAR, AsJson, State, TenantOption, Url
from pointbank.cli.say import out, print_json, print_table, table_of

group = typer.Typer(help="Daily totals and deposits, against what bills say.", no_args_is_help=True)

Token = Annotated[
    str | None,
    typer.Option(
        envvar="POINTBANK_TOKEN",
        help="A token: to import and check with ops:write, to list with audit:read, to resolve with adjustments:approve; "
        "else one of the state folder's keys.",
    ),
]
STATES = ("open", "explained", "closed")


@group.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="CSV: merchant, day, total, deposit, reference, currency."
        ),
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
    from pointbank.files.settlement import BadFile, import_file

    try:
        done = with_api(
            lambda api: import_file(api, file, programme=programme, said=lambda _: None),
            url=url, token=token, state=state, role="operator", tenant=tenant,
        )  # fmt: skip
    except BadFile as error:
        raise typer.BadParameter(f"{file}: {error}") from error
    if as_json:
        print_json(done)
    else:
        out.print(f"{done['imported']:,} totals and deposits are new, {done['known']:,} were known.")


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

    body = {"from_day": a_day(from_, option="--from"), "to_day": a_day(to, option="--to")}
    key = f"settlement-check-{uuid7()}"
    done = with_api(
        lambda api: api.call("POST", "/v1/settlements/check", body, key=key, role="operator"),
        url=url, token=token, state=state, role="operator", tenant=tenant,
    )  # fmt: skip
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
    one_of(only, *STATES, option="--only")
    asked = "/v1/settlements/variances?limit=200" + (f"&state={only}" if only else "")

    async def all_pages(api: Any) -> list[Any]:
        items: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            found = await api.call("GET", asked + cursor, role="finance")
            items += found["items"]
            cursor = None if found["next_cursor"] is None else f"&cursor={found['next_cursor']}"
        return items

    items = with_api(all_pages, role="finance", url=url, token=token, state=state, tenant=tenant)
    if as_json:
        print_json({"items": items})
        return
    table = table_of(
        "*variance", "*merchant", "*day", "kind", "bills say, minor", "said, minor", "currency", "missing", "state", "owner",
    )  # fmt: skip
    for one in items:
        table.add_row(
            one["variance_id"],
            one["merchant"],
            one["day"],
            one["kind"],
            f"{one['expected_minor']:,}",
            f"{Decimal(one['found_minor']):,f}",
            one["currency"],
            one["missing"] or "",
            one["state"],
            one["owner"] or "",
        )
    print_table(table)


@group.command("resolve")
def resolve(
    variance_id: UUID,
    to: Annotated[str | None, typer.Option("--as", help="explained, closed or open.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who looks after it.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept.")] = None,
    bills_say: Annotated[
        str | None,
        typer.Option(help="What `list` showed; refused where a check has found another number since."),
    ] = None,
    said: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Gives a variance to somebody, explains or closes it."""
    from shared.ids import uuid7

    one_of(to, *STATES, option="--as")
    if to is None and owner is None:
        raise typer.BadParameter("--owner says who looks after it, --as what became of it: give one of them")
    if to in {"explained", "closed"} and reason is None:
        raise typer.BadParameter(f"--as {to} wants a --reason")
    body = {
        "owner": owner,
        "state": to,
        "reason": reason,
        "expected_minor": _whole(bills_say),
        "found_minor": said and said.replace(",", ""),
    }
    path = f"/v1/settlements/variances/{variance_id}"
    one = with_api(
        lambda api: api.call("POST", path, body, key=f"variance-{uuid7()}", role="finance"),
        url=url, token=token, state=state, role="finance", tenant=tenant,
    )  # fmt: skip
    if as_json:
        print_json(one)
    else:
        out.print(f"{one['merchant']} on {one['day']} is {one['state']}, with {one['owner'] or 'nobody'}.")


def _whole(text: str | None) -> int | None:
    """A number as `list` groups its digits."""
    try:
        return None if text is None else int(text.replace(",", ""))
    except ValueError:
        raise typer.BadParameter(f"{text} is no whole number", param_hint="--bills-say") from None
