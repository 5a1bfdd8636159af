"""Making tenants, migrating them, and tokens to call them with."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from pointbank.cli.asking import one_of
from pointbank.cli.options import VAR, AsJson, State, TenantOption
from pointbank.cli.say import counted, err, out, print_json, print_table, table_of

group = typer.Typer(
    help="Tenants: each has a database, and in it a schema and a login role per service.",
    no_args_is_help=True,
)


def migrate(as_json: AsJson = False) -> None:
    """Brings every tenant's tables up to this release. Safe to repeat; one tenant's failure is its own. Exit 1 if any."""
    import asyncio

    from shared.config import Settings
    from shared.tenants.provision import migrate_all

    results = asyncio.run(migrate_all(Settings()))
    failed = {tenant: str(found) for tenant, found in results.items() if isinstance(found, Exception)}
    ran = {tenant: found for tenant, found in results.items() if not isinstance(found, Exception)}
    if as_json:
        print_json({"migrated": ran, "failed": failed})
    else:
        for tenant, files in ran.items():
            out.print(f"{tenant}: {', '.join(files) or 'up to date'}", highlight=False)
        for tenant, why in failed.items():
            err.print(f"{tenant}: failed: {why}", style="red", highlight=False, markup=False, soft_wrap=True)
        if not results:
            out.print("No tenants yet. Make one with: pointbank tenant create CODE")
    raise typer.Exit(1 if failed else 0)


@group.command("create")
def tenant_create(
    code: Annotated[str, typer.Argument(help="Lower-case letters, digits, hyphens; starts with a letter.")],
    cell: Annotated[
        str | None, typer.Option(help="The cell whose Redis POINTBANK_REDIS_URL is; else POINTBANK_CELL.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="A PostgreSQL server of its own, with the same administrator.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="That server's port.")] = None,
    as_json: AsJson = False,
) -> None:
    """Makes a tenant. Running services pick it up within a second; a second call changes nothing."""
    import asyncio

    from pointbank.tills import allow_tills
    from shared.config import Settings
    from shared.tenants.provision import create_tenant

    settings = Settings() if cell is None else Settings(cell=cell)

    async def make() -> str:
        await create_tenant(settings, code, host=host, port=port)
        return await allow_tills(settings, code)

    user = asyncio.run(make())
    if as_json:
        print_json({"tenant": code, "till_user": user})
        return
    out.print(
        f"Tenant {code} is ready. Its tills log in to Redis as {user}; `pointbank tenant till-url {code}` prints where, "
        "with the password.",
        highlight=False,
        soft_wrap=True,
    )


@group.command("till-url")
def tenant_till_url(code: Annotated[str, typer.Argument(help="The tenant's code.")]) -> None:
    """Prints where the tenant's tills connect to Redis, with their password: it derives from POINTBANK_SECRET."""
    from pointbank.tills import till_url
    from shared.config import Settings

    must_be_known(code)
    typer.echo(till_url(Settings(), code))


@group.command("auditor-url")
def tenant_auditor_url(code: Annotated[str, typer.Argument(help="The tenant's code.")]) -> None:
    """Prints where the tenant's auditor, who may read everything and change nothing, logs in to PostgreSQL, with the password: it
    derives from POINTBANK_SECRET."""
    import asyncio

    from pointbank.logins import login_url
    from shared.config import Settings

    typer.echo(asyncio.run(login_url(Settings(), code, "auditor")))


@group.command("suspend")
def tenant_suspend(
    code: Annotated[str, typer.Argument(help="The tenant's code.")],
    within: Annotated[
        float,
        typer.Option(min=0, help="Seconds for what is held to be finished; the rest waits for the resume."),
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Takes nothing new for a tenant (503 tenant_suspended), finishes what is held, then lets nobody in. Exit 1 if not settled."""
    import asyncio

    import msgspec

    from pointbank.operating.suspending import suspend
    from shared.config import Settings

    done = asyncio.run(suspend(Settings(), code, within_s=within))
    if as_json:
        print_json(msgspec.to_builtins(done))
    else:
        out.print(f"{code} is suspended, {'settled' if done.settled else 'not settled'}.", highlight=False)
        for name, count in {**done.standing.unpublished, **done.standing.unheard}.items():
            out.print(f"  {name}: {counted(count, 'event')} {_waits(count)} for the resume", highlight=False)
        if done.standing.offered:
            offered = done.standing.offered
            said = counted(offered, "entry", "entries")
            out.print(f"  tills have offered {said} that {_waits(offered)}", highlight=False)
        if done.thrown_out:
            err.print(
                f"  {counted(done.thrown_out, 'session')} had to be ended", style="yellow", highlight=False
            )
    raise typer.Exit(0 if done.settled else 1)


def _waits(count: int) -> str:
    return "waits" if count == 1 else "wait"


@group.command("resume")
def tenant_resume(
    code: Annotated[str, typer.Argument(help="The tenant's code.")], as_json: AsJson = False
) -> None:
    """Serves a suspended tenant again, from where it was; services pick it up within a second."""
    import asyncio

    from pointbank.operating.suspending import resume
    from shared.config import Settings

    asyncio.run(resume(Settings(), code))
    if as_json:
        print_json({"tenant": code, "state": "active"})
    else:
        out.print(f"{code} is served again.", highlight=False)


@group.command("move")
def tenant_move(
    code: Annotated[str, typer.Argument(help="The tenant's code.")],
    to: Annotated[str, typer.Option(help="postgresql://host:port of the server it goes to.")],
    within: Annotated[float, typer.Option(min=0, help="Seconds for what is held to be finished.")] = 60.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop what an earlier move left at the destination.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Suspends a tenant, copies its database to another server, compares every row, verifies it there, and serves it there."""
    import asyncio

    import msgspec

    from pointbank.operating.moving import move
    from shared.config import Settings

    def say(line: str) -> None:
        err.print(line, highlight=False)

    done = asyncio.run(
        move(Settings(), code, to=to, within_s=within, dry_run=dry_run, replace=replace, say=say)
    )
    if as_json:
        print_json(msgspec.to_builtins(done))
        return
    verb = "would be moved" if done.dry_run else "is served"
    out.print(f"{code} {verb} from {done.origin} to {done.destination}.", highlight=False)
    if done.copied is not None:
        out.print(
            f"  {done.copied.rows} rows of {done.copied.tables} tables and {done.copied.sequences} sequences are the same, "
            "and verify has no objection. The old database is locked: drop it when you no longer want it.",
            highlight=False,
        )


@group.command("list")
def tenant_list(as_json: AsJson = False) -> None:
    """Every tenant: where it is, and whether it can be served."""
    import asyncio

    from shared.config import Settings
    from shared.tenants.provision import list_tenants

    found = asyncio.run(list_tenants(Settings()))
    if as_json:
        print_json(
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
    if not found:
        out.print("No tenants yet. Make one with: pointbank tenant create CODE")
        return
    table = table_of("*tenant", "cell", "*database", "state", "schema", "since")
    for t in found:
        table.add_row(
            t.code,
            t.cell,
            t.place.database + (f" at {t.place.host}" if t.place.host else ""),
            t.failure or t.state,
            str(t.version or "-"),
            f"{t.created_at:%Y-%m-%d %H:%M}",
        )
    print_table(table)


def _some_time(hours: float) -> float:
    if hours <= 0:
        raise typer.BadParameter(f"{hours} is not in the range x>0")
    return hours


def must_be_known(tenant: str) -> None:
    """Refuses a tenant that the directory lacks. Nobody is asked where no administrator's DSN is set."""
    import asyncio

    from pointbank.logins import UnknownTenant
    from shared.config import Settings
    from shared.tenants.provision import list_tenants

    if (settings := Settings()).postgres_dsn is None:
        return
    if tenant not in {one.code for one in asyncio.run(list_tenants(settings))}:
        raise UnknownTenant(f"there is no tenant {tenant}; `pointbank tenant list` shows those there are")


def token(
    role: Annotated[
        str, typer.Option(help="till, ecommerce, crm, marketer, support, finance, auditor, operator, admin.")
    ],
    tenant: TenantOption = "demo",
    subject: Annotated[str | None, typer.Option(help="Who it is for; in the audit.")] = None,
    hours: Annotated[float, typer.Option(callback=_some_time, help="How long it is good for.")] = 12,
    merchant: Annotated[str | None, typer.Option(help="Narrows it to one merchant.")] = None,
    mfa: Annotated[bool, typer.Option(help="Says that a second factor was shown (amr: mfa).")] = False,
    state: State = VAR,
) -> None:
    """Prints a token for development, signed with the key pair of the state folder."""
    from pointbank.tokens import ROLES, issue, known_keys

    one_of(role, *ROLES, option="--role")
    keys = known_keys(state / "keys")
    must_be_known(tenant)
    typer.echo(
        issue(
            keys,
            role=role,
            tenant=tenant,
            subject=subject or f"{role}@{tenant}",
            ttl=timedelta(hours=hours),
            merchant=merchant,
            mfa=mfa,
        )
    )
