"""Bills that fraud guards flagged: the queue, and what somebody decides about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pointbank.cli.options import VAR, AsJson, State, TenantOption
from pointbank.cli.say import out, print_json

group = typer.Typer(help="Bills that fraud guards flagged.", no_args_is_help=True)

Url = Annotated[str, typer.Option(help="Where earn is served.")]
Token = Annotated[
    str | None,
    typer.Option(envvar="POINTBANK_TOKEN", help="A person's token; else one of the state folder's keys."),
]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]
HERE = "http://127.0.0.1:8080"


@group.command("list")
def list_reviews(
    tenant: TenantOption = "demo",
    url: Url = HERE,
    token: Token = None,
    status: Annotated[str, typer.Option("--state-of", help="open, released or cancelled.")] = "open",
    pattern: Annotated[str | None, typer.Option(help="Only those flagged for this.")] = None,
    as_json: AsJson = False,
    state: State = VAR,
) -> None:
    """Tells what waits for somebody, the newest first."""
    from rich.table import Table

    asked = f"/v1/reviews?state={status}" + (f"&pattern={pattern}" if pattern else "")
    items: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        found = _call(tenant, url, token, state, "GET", f"{asked}&limit=200{cursor}")
        items += found["items"]
        cursor = None if found["next_cursor"] is None else f"&cursor={found['next_cursor']}"
    if as_json:
        print_json({"items": items})
        return
    table = Table("review", "patterns", "merchant", "bill", "terminal", "cashier", "held", "flagged")
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
    out.print(table)


@group.command("release")
def release(
    review_id: str,
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
    review_id: str,
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
    tenant: str, url: str, token: str | None, state: Path, review_id: str, verdict: str, reason: str
) -> Any:
    path = f"/v1/reviews/{review_id}/{verdict}"
    return _call(
        tenant, url, token, state, "POST", path, {"reason": reason}, key=f"review-{review_id}-{verdict}"
    )


def _decided(review: Any, as_json: bool) -> None:
    if as_json:
        print_json(review)
    else:
        out.print(f"{review['held']['points']:,} points of bill {review['bill_ref']} are {review['state']}.")


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
    import asyncio

    from pointbank.api import Api
    from pointbank.tokens import dev_keys, issue

    chosen = token or issue(
        dev_keys(state / "keys"), role="finance", tenant=tenant, subject=f"finance@{tenant}"
    )

    async def ask() -> Any:
        async with Api(url, lambda _: chosen, connections=1) as api:
            return await api.call(method, path, body, key=key, role="finance")

    return asyncio.run(ask())
