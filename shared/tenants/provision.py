"""Making tenants and migrating them: an administrator's work, each step safe to repeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib import resources
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from shared.config import Settings
from shared.db import Connection, connect, database_of, role_of
from shared.messaging.keys import SERVICES
from shared.migrate import LOCK_KEY, LOCK_MS, migrate, patiently, schema_version, standing
from shared.tenants import CODE
from shared.tenants.counting import bring_forward
from shared.tenants.directory import SERVED, Place, control_role, queries

AUDITOR = "auditor"
OWNER = "owner"
AT_ONCE = 4
"""So many tenants are migrated side by side."""


class TenantCodeInvalid(ValueError):
    """A tenant's code is lower-case letters, digits and hyphens, at most 40, starting with a letter; not "control"."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A line of `pointbank tenant list`."""

    code: str
    cell: str
    place: Place
    state: str
    version: int | None
    failure: str | None
    created_at: datetime


async def prepare_control(settings: Settings) -> None:
    """Makes the control database and the logins of services and auditor there, where they are missing."""
    async with connected(settings, Place("")) as db:
        await _make_database(db, settings.control_database)
    async with connected(settings, Place(settings.control_database)) as db:
        await patiently(partial(_prepare_directory, settings, db))


async def _prepare_directory(settings: Settings, db: Connection) -> None:
    async with _alone(db):
        # What was altered is put right under a lock that services would queue behind.
        await db.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
        await run_file(db, "control.sql", database=quoted(settings.control_database))
        for service in SERVICES:
            role = control_role(service)
            await run_file(
                db,
                "control_role.sql",
                name=role,
                role=quoted(role),
                service=service,
                database=quoted(settings.control_database),
                password=settings.password_of(service, role),
            )
        role = control_role(AUDITOR)
        await run_file(
            db,
            "control_auditor.sql",
            name=role,
            role=quoted(role),
            database=quoted(settings.control_database),
            password=settings.password_of(AUDITOR, role),
        )
        if not await queries.has_tenants(db):
            await _release(db)


async def create_tenant(
    settings: Settings,
    code: str,
    *,
    cell: str | None = None,
    host: str | None = None,
    port: int | None = None,
) -> None:
    """Makes a tenant: database, roles, schemas, tables. A second call completes what a first one left, or changes nothing.

    On a server of its own (`host`, `port`) the administrator's DSN must be good for that server too.
    """
    if not CODE.fullmatch(code) or code == "control":
        raise TenantCodeInvalid(f"{code!r} is no tenant code. {TenantCodeInvalid.__doc__}")
    await prepare_control(settings)
    async with connected(settings, Place(settings.control_database)) as control:
        await queries.add_tenant(
            control, code=code, cell=cell or settings.cell, database=database_of(code), host=host, port=port
        )
        place = Place(**await queries.place_of(control, code=code))
        async with connected(settings, Place("", place.host, place.port)) as db:
            await make_roles(settings, code, db)
            await _make_database(db, place.database, owner=role_of(code, OWNER))
        await migrate_tenant(settings, code, place)
        await queries.activate(control, code=code)


async def _make_database(db: Connection, database: str, *, owner: str | None = None) -> None:
    if await queries.database_exists(db, database=database):
        return
    # Another administrator may be faster; what follows finds its database.
    with suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        await db.execute(
            f"CREATE DATABASE {quoted(database)}" + (f" OWNER {quoted(owner)}" if owner is not None else "")
        )


async def make_roles(settings: Settings, code: str, db: Connection) -> None:
    """A tenant's roles on a server, by an administrator's connection to it."""
    async with _alone(db):
        for part in (OWNER, AUDITOR, *SERVICES):
            role = role_of(code, part)
            login = (
                "NOLOGIN"
                if part == OWNER
                else f"LOGIN NOINHERIT PASSWORD '{settings.password_of(part, role)}'"
            )
            await run_file(db, "tenant_role.sql", name=role, role=quoted(role), login=login)


async def migrate_tenant(settings: Settings, code: str, place: Place) -> list[str]:
    """Brings a tenant's schemas up to this code, and its server's transaction ids to where its events were; gives the files that
    ran. A failure is recorded for that service alone."""
    ran: list[str] = []
    owner, auditor = role_of(code, OWNER), role_of(code, AUDITOR)
    database = quoted(place.database)
    async with (
        connected(settings, place) as db,
        connected(settings, Place(settings.control_database)) as control,
    ):
        async with _alone(db, LOCK_KEY):
            await run_file(db, "tenant_database.sql", database=database, auditor=quoted(auditor))
        for service in SERVICES:
            role = role_of(code, service)
            try:
                async with _alone(db, LOCK_KEY):
                    await run_file(
                        db,
                        "tenant_schema.sql",
                        schema=quoted(service),
                        owner=quoted(owner),
                        role=quoted(role),
                        auditor=quoted(auditor),
                        database=database,
                    )
                ran += await migrate(db, service=service, owner=owner, service_role=role)
            except Exception as error:
                if not db.is_closed():
                    await _say_version(control, db, code, service, error)
                raise
            await _say_version(control, db, code, service)
        await bring_forward(db)
        # Its roles were just let in again.
        if await queries.state_of(control, code=code) == "suspended":
            await fence(db, code, place.database)
    return ran


async def _say_version(
    control: Connection, db: Connection, code: str, service: str, failure: Exception | None = None
) -> None:
    # What has run, not what this code knows: a file that failed left the schema as it was, and an older release has less to say.
    now = await standing(db, service=service)
    await queries.set_version(
        control,
        tenant=code,
        service=service,
        version=now.version,
        state="ready" if failure is None else "failed",
        detail=None if failure is None else str(failure)[:500],
        needs=now.needs,
    )


async def _release(control: Connection) -> None:
    await queries.release(
        control, services=list(SERVICES), versions=[schema_version(service) for service in SERVICES]
    )


async def fence(db: Connection, code: str, database: str) -> None:
    """From here on no process of a service can write to this database, whatever it still believes: nobody is let in, and who
    is in is thrown out."""
    roles = [role_of(code, service) for service in SERVICES]
    await db.execute(f"REVOKE CONNECT ON DATABASE {quoted(database)} FROM {', '.join(map(quoted, roles))}")
    await queries.end_sessions(db, database=database, roles=roles)


async def let_in(db: Connection, code: str, database: str) -> None:
    """Takes the fence away."""
    roles = [role_of(code, service) for service in SERVICES]
    await db.execute(f"GRANT CONNECT ON DATABASE {quoted(database)} TO {', '.join(map(quoted, roles))}")


async def list_tenants(settings: Settings) -> list[Provisioned]:
    """Every tenant; an empty list where there is no control database yet."""
    try:
        async with connected(settings, Place(settings.control_database)) as db:
            rows = await queries.all_tenants(db)
    except (asyncpg.InvalidCatalogNameError, asyncpg.UndefinedTableError):
        return []
    return [
        Provisioned(
            code=row["code"],
            cell=row["cell"],
            place=Place(row["database"], row["host"], row["port"]),
            state=row["state"],
            version=row["version"],
            failure=row["failure"],
            created_at=row["created_at"],
        )
        for row in rows
    ]


async def migrate_all(settings: Settings) -> dict[str, list[str] | Exception]:
    """Migrates every tenant, some at once; one tenant's failure is its own. Tenant -> the files that ran, or the error."""
    await prepare_control(settings)
    turns = asyncio.Semaphore(AT_ONCE)

    async def bring(tenant: Provisioned) -> list[str] | Exception:
        async with turns:
            try:
                return await migrate_tenant(settings, tenant.code, tenant.place)
            except Exception as error:  # noqa: BLE001  # one tenant's failure is its own
                return error

    tenants = await list_tenants(settings)
    results = await asyncio.gather(*[bring(tenant) for tenant in tenants])
    served = zip(tenants, results, strict=True)
    if not any(isinstance(result, Exception) for tenant, result in served if tenant.state in SERVED):
        # Else processes of this release wait, and those of the release before go on for everybody.
        async with connected(settings, Place(settings.control_database)) as control:
            await _release(control)
    return {tenant.code: result for tenant, result in zip(tenants, results, strict=True)}


def dsn_for(settings: Settings, database: str, host: str | None = None, port: int | None = None) -> str:
    """The administrator's DSN, at another database (of an empty name: at its own), and perhaps on another server."""
    parts = urlsplit(settings.admin_dsn())
    if database:
        parts = parts._replace(path=f"/{database}")
    if host is not None or port is not None:
        login, at, _ = parts.netloc.rpartition("@")
        address = f"{host or settings.postgres_host}:{port or settings.postgres_port}"
        # A host in the query would win over this one.
        kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in {"host", "port"}]
        parts = parts._replace(netloc=f"{login}{at}{address}", query=urlencode(kept))
    return urlunsplit(parts)


@asynccontextmanager
async def connected(settings: Settings, place: Place) -> AsyncIterator[Connection]:
    """An administrator's connection to a database of this or that server."""
    db = await connect(dsn_for(settings, place.database, place.host, place.port))
    try:
        yield db
    finally:
        await db.close()


@asynccontextmanager
async def _alone(db: Connection, key: int = 8101315) -> AsyncIterator[None]:
    # Roles are shared by all databases of a server, and grants are rows too: two administrators at once would meet "tuple
    # concurrently updated". In a tenant's database, where the other's migration changes the rows of its tables, by that one's key.
    async with db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock($1)", key)
        yield


async def run_file(db: Connection, file: str, **words: str) -> None:
    """Runs a file of this package with the words put in their places."""
    text = resources.files("shared.tenants").joinpath(file).read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    await db.execute(text)


def quoted(identifier: str) -> str:
    """An identifier as SQL has it."""
    return '"' + identifier.replace('"', '""') + '"'
