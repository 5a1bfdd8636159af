"""Bills that fraud guards flagged: the queue, and what somebody decides about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import typer

from pointbank.cli.asking import one_of, with_api
from pointbank.cli.options import HERE, VAR, AsJson, State, TenantOption, Url
from pointbank.cli.say import counted, out, print_json, print_table, table_of

group = typer.Typer(help="Bills that fraud guards flagged.", no_args_is_help=True)

Token = Annotated[
    str | None,
    typer.Option(
        envvar="POINTBANK_TOKEN",
        help="A person's token with audit:read, to decide adjustments:approve; else one of the state folder's keys.",
    ),
]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]
STATES = ("open", "released", "cancelled")


@group.command("list")
def list_reviews(
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    status: Annotated[
        str, typer.Option("--only", "--state-of", help="open, released or cancelled.")
    ] = "open",
    pattern: Annotated[str | None, typer.Option(help="Only those flagged for this.")] = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Tells what waits for somebody, the newest first."""
    one_of(status, *STATES, option="--only")
    asked = {"state": status, "limit": "200"} | ({"pattern": pattern} if pattern else {})
    items: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = urlencode(asked | ({"cursor": cursor} if cursor else {}))
        found = _call(tenant, url, token, state, "GET", f"/v1/reviews?{page}")
        items += found["items"]
        cursor = found["next_cursor"]
    if as_json:
        print_json({"items": items})
        return
    table = table_of("*review", "patterns", "*merchant", "*bill", "terminal", "cashier", "held", "flagged")
    for one in items:
        table.add_row(
            one["review_id"],
            ", ".join(one["patterns"]),
            one["merchant"],
            one["bill_ref"],
            one["terminal"] or "",
            one["cashier"] or "",
            f"{one['held']['points']:,}",
            one["flagged_at"],
        )
    print_table(table)


@group.command("release")
def release(
    review_id: UUID,
    reason: Reason,
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Lets the points of a bill go free."""
    _decided(_decide(tenant, url, token, state, review_id, "release", reason), as_json)


@group.command("cancel")
def cancel(
    review_id: UUID,
    reason: Reason,
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Has the points of a bill taken back."""
    _decided(_decide(tenant, url, token, state, review_id, "cancel", reason), as_json)


def _decide(
    tenant: str, url: str, token: str | None, state: Path, review_id: UUID, verdict: str, reason: str
) -> Any:
    path = f"/v1/reviews/{review_id}/{verdict}"
    return _call(
        tenant, url, token, state, "POST", path, {"reason": reason}, key=f"review-{review_id}-{verdict}"
    )


def _decided(review: Any, as_json: bool) -> None:
    if as_json:
        print_json(review)
    else:
        points = review["held"]["points"]
        are = "is" if points == 1 else "are"
        out.print(f"{counted(points, 'point')} of bill {review['bill_ref']} {are} {review['state']}.")


def _call(
    tenant: str,
    url: str,
    token: str | None,
    state: Path,
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str | None = None,
) -> Any:
    return with_api(
        lambda api: api.call(method, path, body, key=key, role="finance"),
        url=url, token=token, state=state, role="finance", tenant=tenant,
    )  # fmt: skip
