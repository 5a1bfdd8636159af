"""The command line. `pointbank --help` teaches; commands that answer with data take `--json`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from shared.config import NotConfigured, Settings

app = typer.Typer(
    name="pointbank",
    help="A loyalty engine built like a bank. Start with `pointbank up`, or see it work with `pointbank demo`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
tenants = typer.Typer(
    help="Tenants: each has a database, and in it a schema and a login role per service.",
    no_args_is_help=True,
)
dead = typer.Typer(
    help="Dead letters: entries that could not be handled. Nothing else waited for them.",
    no_args_is_help=True,
)
app.add_typer(tenants, name="tenant")
app.add_typer(dead, name="dead-letters")

out, err = Console(), Console(stderr=True)

State = Annotated[
    Path,
    typer.Option(
        "--state", envvar="POINTBANK_STATE", help="Folder for the servers' data, keys and journals."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for machines.")]
TenantOption = Annotated[str, typer.Option("--tenant", envvar="POINTBANK_TENANT", help="The tenant's code.")]
VAR = Path("var")
Answer = TypeVar("Answer")


def main() -> None:
    """The entry point: expected failures end in one line that says what to do, and exit code 2."""
    try:
        app()
    except Exception as error:
        said = _expected(error)
        if said is None:
            raise
        err.print(f"pointbank: {said}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


def _expected(error: Exception) -> str | None:
    """What to tell of a failure that is no bug: of a setting, a server that is away, input that is none."""
    import asyncpg
    from pydantic import ValidationError
    from redis.exceptions import RedisError

    from pointbank.api import CallFailed
    from pointbank.dead_letters import KeptInPart
    from pointbank.embedded import CannotStart
    from pointbank.journal import JournalBroken, JournalInUse
    from pointbank.logins import UnknownTenant
    from pointbank.online_retail import NotOnlineRetail
    from pointbank.till import Unanswered
    from pointbank.verify import NotSettled
    from shared.tenants.provision import TenantCodeInvalid

    match error:
        case ValidationError() if error.title == Settings.__name__:
            wrong = error.errors(include_url=False, include_input=False)
            return "; ".join(f"POINTBANK_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in wrong)
        case asyncpg.InvalidCatalogNameError():
            return f"{error}. Is the tenant made, and `pointbank migrate` run?"
        case asyncpg.InvalidAuthorizationSpecificationError():
            return f"PostgreSQL refuses the login: {error}. Is POINTBANK_SECRET the one the tenant was made with?"
        case RedisError():
            return f"Redis: {error}. Is POINTBANK_REDIS_URL right?"
        case NotConfigured() | CannotStart() | TenantCodeInvalid() | UnknownTenant() | NotOnlineRetail():
            return str(error)
        case KeptInPart() | CallFailed() | JournalBroken() | JournalInUse() | Unanswered() | NotSettled():
            return str(error)
        case ConnectionError() | TimeoutError():
            return f"PostgreSQL can't be reached: {error}. Is POINTBANK_POSTGRES_DSN (or _HOST, _PORT) right?"
        case _:
            return None


def _run(work: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(work)


@app.command()
def demo(state: State = VAR) -> None:
    """Shows it working: real servers, 2,000 bills, a redemption, and the ten invariants checked. Exit 1 if one fails."""
    from pointbank.demo import demo as run_demo

    raise typer.Exit(run_demo(state))


@app.command()
def up(
    state: State = VAR,
    port: Annotated[int, typer.Option(help="Port of the all-in-one process.")] = 8080,
    tenant: TenantOption = "demo",
) -> None:
    """Keeps everything running: servers where none are configured, all services on one port. Ctrl-C stops it in order."""
    from pointbank.up import up as keep_running

    raise typer.Exit(keep_running(state, port=port, tenant=tenant))


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help="members, earn, redeem, tiers, notifier, or all.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
) -> None:
    """Runs one service (or all in one process), configured by POINTBANK_*; stops in order on SIGTERM."""
    import uvicorn

    from shared.messaging.keys import SERVICES

    if service not in (*SERVICES, "all"):
        raise typer.BadParameter(f"one of {', '.join(SERVICES)}, all")
    target = "pointbank.allinone:create" if service == "all" else f"services.{service}.app:create"
    uvicorn.run(
        target,
        factory=True,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=30,
    )


@app.command()
def openapi() -> None:
    """Prints the OpenAPI document of all services; docs/openapi.json is kept equal to it."""
    from pointbank.allinone import openapi_text

    typer.echo(openapi_text(), nl=False)


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Brings every tenant's tables up to this release. Safe to repeat; one tenant's failure is its own. Exit 1 if any."""
    from shared.tenants.provision import migrate_all

    results = _run(migrate_all(Settings()))
    failed = {tenant: str(found) for tenant, found in results.items() if isinstance(found, Exception)}
    ran = {tenant: found for tenant, found in results.items() if not isinstance(found, Exception)}
    if as_json:
        _print_json({"migrated": ran, "failed": failed})
    else:
        for tenant, files in ran.items():
            out.print(f"{tenant}: {', '.join(files) or 'up to date'}", highlight=False)
        for tenant, why in failed.items():
            err.print(f"{tenant}: failed: {why}", style="red", markup=False)
        if not results:
            out.print("No tenants yet. Make one with: pointbank tenant create CODE")
    raise typer.Exit(1 if failed else 0)


@tenants.command("create")
def tenant_create(
    code: Annotated[str, typer.Argument(help="Lower-case letters, digits, hyphens; starts with a letter.")],
    cell: Annotated[
        str | None, typer.Option(help="The cell whose Redis POINTBANK_REDIS_URL is; else POINTBANK_CELL.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="A PostgreSQL server of its own, with the same administrator.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="That server's port.")] = None,
) -> None:
    """Makes a tenant. Running services pick it up within a second; a second call changes nothing."""
    from pointbank.tills import allow_tills
    from shared.tenants.provision import create_tenant

    settings = Settings() if cell is None else Settings(cell=cell)

    async def make() -> str:
        await create_tenant(settings, code, host=host, port=port)
        return await allow_tills(settings, code)

    user = _run(make())
    out.print(f"Tenant {code} is ready. Its tills log in to Redis as {user}.", highlight=False)


@tenants.command("list")
def tenant_list(as_json: AsJson = False) -> None:
    """Every tenant: where it is, and whether it can be served."""
    from shared.tenants.provision import list_tenants

    found = _run(list_tenants(Settings()))
    if as_json:
        _print_json(
            [
                {
                    "code": t.code,
                    "cell": t.cell,
                    "database": t.place.database,
                    "host": t.place.host,
                    "port": t.place.port,
                    "state": t.state,
                    "version": t.version,
                    "failure": t.failure,
                }
                for t in found
            ]
        )
        return
    table = Table("tenant", "cell", "database", "state", "schema", "since")
    for t in found:
        table.add_row(
            t.code,
            t.cell,
            t.place.database + (f" at {t.place.host}" if t.place.host else ""),
            t.failure or t.state,
            str(t.version or "-"),
            f"{t.created_at:%Y-%m-%d %H:%M}",
        )
    out.print(table if found else "No tenants yet. Make one with: pointbank tenant create CODE")


@app.command()
def token(
    role: Annotated[
        str, typer.Option(help="till, ecommerce, crm, marketer, support, finance, auditor, operator, admin.")
    ],
    tenant: TenantOption = "demo",
    subject: Annotated[str | None, typer.Option(help="Who it is for; in the audit.")] = None,
    hours: Annotated[float, typer.Option(help="How long it is good for.")] = 12,
    merchant: Annotated[str | None, typer.Option(help="Narrows it to one merchant.")] = None,
    state: State = VAR,
) -> None:
    """Prints a token for development, signed with the key pair of the state folder."""
    from pointbank.tokens import ROLES, dev_keys, issue

    if role not in ROLES:
        raise typer.BadParameter(f"one of {', '.join(ROLES)}")
    typer.echo(
        issue(
            dev_keys(state / "keys"),
            role=role,
            tenant=tenant,
            subject=subject or f"{role}@{tenant}",
            ttl=timedelta(hours=hours),
            merchant=merchant,
        )
    )


@app.command()
def generate(
    bills: Annotated[int, typer.Option(help="How many bills.")] = 2000,
    members: Annotated[
        int, typer.Option(help="How many members; the busiest have the most bills (Zipf).")
    ] = 400,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bills.")] = 1,
    file: Annotated[Path | None, typer.Option("--out", help="A file, else stdout.")] = None,
) -> None:
    """Makes a sample of bills as JSON lines: several lines each, realistic hours, the same for the same seed."""
    from pointbank.generate import json_lines

    target = sys.stdout if file is None else file.open("w", encoding="utf-8")
    try:
        for line in json_lines(bills=bills, members=members, seed=seed):
            target.write(line + "\n")
    finally:
        if file is not None:
            target.close()


@app.command()
def replay(
    online_retail: Annotated[
        Path, typer.Option("--online-retail", exists=True, help="An Online Retail CSV, .gz or not.")
    ],
    state: State = VAR,
    via: Annotated[Literal["stream", "http"], typer.Option(help="How the bills are sent.")] = "stream",
    as_json: AsJson = False,
) -> None:
    """Rings up a file of real sales as a till would, waits until all is settled, verifies. Exit 1 if verify does not hold."""
    from pointbank.replay import run_replay

    raise typer.Exit(run_replay(online_retail, state=state, via=via, as_json=as_json))


@app.command()
def verify(
    tenant: TenantOption = "demo",
    journal: Annotated[Path | None, typer.Option(help="What tills sent and saw acknowledged.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait until all is settled.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Proves the invariants from PostgreSQL, the streams and the tills' journal. Exit 0 holds, 1 broken, 2 could not check."""
    from pointbank.verify import run_verify

    raise typer.Exit(
        run_verify(Settings(), tenant, journal=journal, wait_until_settled_s=wait, as_json=as_json)
    )


@dead.command("list")
def dead_list(
    tenant: TenantOption = "demo",
    service: Annotated[
        list[str] | None, typer.Option(help="Only this service's; may be given again.")
    ] = None,
    code: Annotated[str | None, typer.Option(help="Only those with this code.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were retried or dropped.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What died and still needs somebody."""
    from pointbank.dead_letters import list_dead_letters
    from shared.messaging.keys import SERVICES

    if unknown := set(service or ()) - set(SERVICES):
        raise typer.BadParameter(f"{', '.join(unknown)} is none of {', '.join(SERVICES)}")
    found = _run(
        list_dead_letters(
            Settings(), tenant, services=tuple(service or SERVICES), code=code, everything=everything
        )
    )
    if as_json:
        _print_json(
            [
                {
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
                for one in found
            ]
        )
        return
    if not found:
        out.print("No dead letters.")
        return
    table = Table("id", "service", "stream", "entry", "code", "detail", "state", "at")
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
    out.print(table)


@dead.command("show")
def dead_show(dead_letter_id: UUID, tenant: TenantOption = "demo") -> None:
    """One dead letter whole, with its payload opened. It may hold personal data."""
    from pointbank.dead_letters import show_dead_letter

    found = _run(show_dead_letter(Settings(), tenant, dead_letter_id))
    if found is None:
        err.print(f"There is no dead letter {dead_letter_id} in {tenant}.")
        raise typer.Exit(1)
    _print_json(found)


@dead.command("retry")
def dead_retry(
    dead_letter_ids: list[UUID],
    tenant: TenantOption = "demo",
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")] = "retry",
) -> None:
    """Hands dead letters back to their service, once; what still can't be handled is open again."""
    _move(dead_letter_ids, tenant, "retry", reason)


@dead.command("drop")
def dead_drop(
    dead_letter_ids: list[UUID],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")],
    tenant: TenantOption = "demo",
) -> None:
    """Closes dead letters for good; they stay in the list under --all."""
    _move(dead_letter_ids, tenant, "dropped", reason)


def _move(dead_letter_ids: list[UUID], tenant: str, state: str, reason: str) -> None:
    from pointbank.dead_letters import move_dead_letters

    actor = os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"
    moved = _run(
        move_dead_letters(
            Settings(), tenant, dead_letter_ids, state=state, actor=f"cli:{actor}", reason=reason
        )
    )
    out.print(f"{len(moved)} of {len(dead_letter_ids)} dead letters: {state}.", highlight=False)
    missing = [str(one) for one in dead_letter_ids if one not in moved]
    if missing:
        err.print(f"Not open (or not there): {', '.join(missing)}", highlight=False)
        raise typer.Exit(1)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, default=str, ensure_ascii=False))
