"""What died, and what an operator decides about it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import err, out, print_json, print_table, table_of

if TYPE_CHECKING:
    from pointbank.operating.dead_letters import DeadLetter

group = typer.Typer(
    help="Dead letters: entries that could not be handled. Nothing else waited for them.",
    no_args_is_help=True,
)


@group.command("list")
def dead_list(
    tenant: TenantOption = "demo",
    service: Annotated[
        list[str] | None, typer.Option(help="Only this service's; may be given again.")
    ] = None,
    code: Annotated[str | None, typer.Option(help="Only those with this code.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were retried or dropped.")
    ] = False,
    most: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """What died and still needs somebody, and how many there are of it."""
    import asyncio

    found, total = asyncio.run(_found(tenant, service, code, everything=everything, most=most))
    if as_json:
        print_json({"items": [_plain(one) for one in found], "total": total})
    elif not found:
        out.print("No dead letters.")
    else:
        _show(found)
        if len(found) < total:
            out.print(f"{len(found):,} of {total:,} shown; --most {total} shows all.", highlight=False)


async def _found(
    tenant: str, service: list[str] | None, code: str | None, *, everything: bool, most: int
) -> tuple[list[DeadLetter], int]:
    from pointbank.operating.dead_letters import count_dead_letters, list_dead_letters
    from shared.config import Settings
    from shared.messaging.keys import SERVICES

    if unknown := set(service or ()) - set(SERVICES):
        raise typer.BadParameter(f"{', '.join(unknown)} is none of {', '.join(SERVICES)}")
    settings, services = Settings(), tuple(service or SERVICES)
    found = await list_dead_letters(
        settings, tenant, services=services, code=code, everything=everything, most=most
    )
    total = await count_dead_letters(settings, tenant, services=services, code=code, everything=everything)
    return found, total


def _plain(one: DeadLetter) -> dict[str, str | None]:
    return {
        "dead_letter_id": str(one.dead_letter_id),
        "service": one.service,
        "stream": one.stream,
        "entry_id": one.entry_id,
        "source": one.source,
        "event_id": one.event_id,
        "code": one.code,
        "detail": one.detail,
        "state": one.state,
        "at": one.at.isoformat(),
    }


def _show(found: list[DeadLetter]) -> None:
    table = table_of("*id", "service", "stream", "*entry", "*code", "detail", "state", "at")
    for one in found:
        table.add_row(
            str(one.dead_letter_id),
            one.service,
            one.stream,
            one.entry_id,
            one.code,
            one.detail[:80],
            one.state,
            f"{one.at:%Y-%m-%d %H:%M:%S}",
        )
    print_table(table)


@group.command("show")
def dead_show(dead_letter_id: UUID, tenant: TenantOption = "demo", as_json: AsJson = False) -> None:
    """One dead letter whole, with its payload opened, as JSON either way. It may hold personal data."""
    import asyncio

    from pointbank.operating.dead_letters import show_dead_letter
    from shared.config import Settings

    found = asyncio.run(show_dead_letter(Settings(), tenant, dead_letter_id))
    if found is None:
        raise typer.BadParameter(
            f"there is no dead letter {dead_letter_id} in {tenant}; "
            f"`pointbank dead-letters list --all --tenant {tenant}` shows those there are"
        )
    print_json(found)


@group.command("retry")
def dead_retry(
    dead_letter_ids: list[UUID],
    tenant: TenantOption = "demo",
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")] = "retry",
    as_json: AsJson = False,
) -> None:
    """Hands dead letters back to their service, once; what still can't be handled is open again."""
    _move(dead_letter_ids, tenant, "retry", reason, as_json=as_json)


@group.command("drop")
def dead_drop(
    dead_letter_ids: list[UUID],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")],
    tenant: TenantOption = "demo",
    as_json: AsJson = False,
) -> None:
    """Closes dead letters for good; they stay in the list under --all."""
    _move(dead_letter_ids, tenant, "dropped", reason, as_json=as_json)


def _move(dead_letter_ids: list[UUID], tenant: str, state: str, reason: str, *, as_json: bool) -> None:
    import asyncio

    from pointbank.operating.dead_letters import move_dead_letters
    from shared.config import Settings

    actor = os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"
    moved = asyncio.run(
        move_dead_letters(
            Settings(), tenant, dead_letter_ids, state=state, actor=f"cli:{actor}", reason=reason
        )
    )
    missing = [str(one) for one in dead_letter_ids if one not in moved]
    if as_json:
        print_json({"state": state, "moved": [str(one) for one in moved], "not_open": missing})
    else:
        out.print(f"{len(moved)} of {len(dead_letter_ids)} dead letters: {state}.", highlight=False)
    if missing and not as_json:
        err.print(f"Not open (or not there): {', '.join(missing)}", highlight=False)
    if missing:
        raise typer.Exit(1)
