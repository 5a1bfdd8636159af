"""Moving a tenant's database to another server: suspended, copied, compared, verified, and served there (docs/decisions/0173).

The directory's row is the one thing that decides where the tenant is; it changes in one statement, after everything that was
copied is proven equal. Killed anywhere, the tenant is suspended at exactly one place: `tenant resume` serves it there, and the
same `tenant move` begins anew. The database it came from stays, with its services locked out, until somebody drops it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import msgspec

from pointbank.embedded import CannotStart, binaries
from pointbank.logins import UnknownTenant
from pointbank.operating.suspending import resume, suspend
from pointbank.verify import verify_tenant
from shared.config import Settings
from shared.db import Connection, role_of
from shared.messaging.keys import SERVICES
from shared.sql import load
from shared.tenants import counting
from shared.tenants.directory import Place, queries
from shared.tenants.provision import OWNER, connected, dsn_for, make_roles, migrate_tenant, quoted

sql = load("pointbank.operating", "moving.sql")

Say = Callable[[str], None]


class CannotMove(Exception):
    """Nothing was changed, or the tenant is suspended where it was; the message says which, and what to do."""


class Copied(msgspec.Struct, frozen=True):
    """What is the same on both sides: tables, rows, sequences."""

    tables: int
    rows: int
    sequences: int


class Moved(msgspec.Struct, frozen=True):
    """What was done, or with `dry_run` what would be."""

    tenant: str
    dry_run: bool
    origin: str
    destination: str
    bytes: int
    xids_to_burn: int
    copied: Copied | None = None


@dataclass(frozen=True, slots=True)
class _Move:
    settings: Settings
    tenant: str
    origin: Place
    destination: Place
    replace: bool
    say: Say


async def move(
    settings: Settings, tenant: str, *, to: str, within_s: float, dry_run: bool, replace: bool, say: Say
) -> Moved:
    """Moves a tenant to the server of the DSN `to`, where POINTBANK_POSTGRES_DSN's login must be an administrator's too.
    Raises UnknownTenant, CannotMove, NotServed."""
    async with connected(settings, Place(settings.control_database)) as control:
        row = await queries.place_of(control, code=tenant)
    if row is None:
        raise UnknownTenant(f"there is no tenant {tenant}; `pointbank tenant list` shows those there are")
    origin = Place(**row)
    given = _Move(settings, tenant, origin, _destination(settings, origin, to), replace, say)
    plan = await _plan(given)
    if dry_run:
        return plan
    say("suspending")
    done = await suspend(settings, tenant, within_s=within_s)
    if not done.settled:
        raise CannotMove(
            f"{tenant} is suspended and not settled ({done.standing}): its services must hear what is left first. "
            "`pointbank tenant resume` goes on where it was"
        )
    copied = await _copy(given)
    await _switch(given, origin, given.destination)
    say("verifying where it is now")
    report = await verify_tenant(settings, tenant)
    if not report:
        await _switch(given, given.destination, origin)
        broken = "; ".join(check.name for check in report.broken)
        raise CannotMove(f"verify objects to the copy ({broken}); {tenant} is suspended where it was")
    await resume(settings, tenant)
    return msgspec.structs.replace(plan, dry_run=False, copied=copied)


def _destination(settings: Settings, origin: Place, to: str) -> Place:
    parts = urlsplit(to)
    found = parse_qs(parts.query).get("host", [parts.hostname or ""])[0]
    if parts.scheme not in ("postgresql", "postgres") or not found:
        raise CannotMove("--to is a DSN like postgresql://host:port; nothing was changed")
    if "@" in parts.netloc:
        raise CannotMove(
            "--to names a server and nobody: who logs in there is the user of POINTBANK_POSTGRES_DSN, with its password. "
            "Leave out what stands before the @; nothing was changed"
        )
    place = Place(origin.database, found, parts.port or 5432)
    if (place.host, place.port) == (
        origin.host or settings.postgres_host,
        origin.port or settings.postgres_port,
    ):
        raise CannotMove("it is there already; nothing was changed")
    return place


async def _plan(given: _Move) -> Moved:
    """What is to be done; raises what would keep it from being done."""
    server = Place("", given.destination.host, given.destination.port)
    await _knock(given.settings, server)
    async with connected(given.settings, given.origin) as here, connected(given.settings, server) as there:
        old, new = here.get_server_version().major, there.get_server_version().major
        if new < old:
            raise CannotMove(f"PostgreSQL {new} can't read what {old} wrote; nothing was changed")
        if not given.replace and await queries.database_exists(there, database=given.origin.database):
            raise CannotMove(
                f"the destination has a database {given.origin.database}, of an earlier move perhaps; "
                "--replace drops it. Nothing was changed"
            )
        await asyncio.to_thread(_programs, old)
        burn = await _behind(here, there)
        if burn > counting.MOST:
            raise CannotMove(
                f"the destination's transaction ids are {burn:,} behind, and events are told apart by them: "
                "bring them forward with pg_resetwal, or copy the server physically. Nothing was changed"
            )
        size = int(await sql.size(here, database=given.origin.database))
    return Moved(given.tenant, True, _told(given, given.origin), _told(given, given.destination), size, burn)


async def _knock(settings: Settings, server: Place) -> None:
    """Raises CannotMove where nobody lets us in there: which of two servers it is, the error itself does not say."""
    try:
        async with connected(settings, server):
            return
    except (OSError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        said = str(error) or "no answer in time"
        raise CannotMove(f"the destination can't be used: {said}; nothing was changed") from error


async def _copy(given: _Move) -> Copied:
    settings, destination, database = given.settings, given.destination, given.origin.database
    server = Place("", destination.host, destination.port)
    async with connected(settings, server) as there:
        await make_roles(settings, given.tenant, there)
        if given.replace:
            await there.execute(f"DROP DATABASE IF EXISTS {quoted(database)} WITH (FORCE)")
        owner = quoted(role_of(given.tenant, OWNER))
        await there.execute(f"CREATE DATABASE {quoted(database)} OWNER {owner} TEMPLATE template0")
    given.say("copying")
    async with connected(settings, given.origin) as here:
        major = here.get_server_version().major
    await _dump_and_restore(given, major)
    # Its own grants and settings are no part of a dump of one database; and it is locked, as the one it comes from.
    await migrate_tenant(settings, given.tenant, destination)
    given.say("comparing")
    async with connected(settings, given.origin) as here, connected(settings, destination) as there:
        copied = await _compare(here, there)
        await counting.burn(there, await _behind(here, there))
    return copied


def _programs(major: int) -> tuple[Path, Path]:
    """pg_dump and pg_restore that know this version of PostgreSQL: the system's, else those of the embedded servers."""
    on_path = [Path(found).parent for found in (shutil.which("pg_dump"),) if found]
    with suppress(CannotStart):
        on_path.append(binaries.postgres().path.parent)
    for folder in on_path:
        said = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"(\d+)(\.|\w|$)", said.stdout)
        if version and int(version[1]) >= major and (folder / "pg_restore").exists():
            return folder / "pg_dump", folder / "pg_restore"
    raise CannotMove(
        f"pg_dump and pg_restore of PostgreSQL {major} or newer are missing; nothing was changed"
    )


async def _dump_and_restore(given: _Move, major: int) -> None:
    pg_dump, pg_restore = await asyncio.to_thread(_programs, major)
    read, write = os.pipe()
    try:
        dump = await asyncio.create_subprocess_exec(
            pg_dump, "--format=custom", "--compress=0",
            env=_environment(given, given.origin), stdout=write, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        restore = await asyncio.create_subprocess_exec(
            pg_restore, "--exit-on-error", "--single-transaction", f"--dbname={given.origin.database}",
            env=_environment(given, given.destination), stdin=read, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    finally:
        os.close(read)
        os.close(write)
    (_, dumped), (_, restored) = await asyncio.gather(dump.communicate(), restore.communicate())
    if dump.returncode or restore.returncode:
        said = (dumped or restored).decode("utf-8", "replace").strip()[-500:]
        raise CannotMove(f"the copy failed: {said}. {given.tenant} is suspended where it was")


def _environment(given: _Move, place: Place) -> dict[str, str]:
    """How libpq's programs reach a place; a password on a command line could be read by everybody."""
    parts = urlsplit(dsn_for(given.settings, place.database, place.host, place.port))
    host = parse_qs(parts.query).get("host", [parts.hostname or ""])[0]
    said = {
        "PGHOST": host,
        "PGPORT": str(parts.port or 5432),
        "PGDATABASE": place.database,
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGOPTIONS": "-c statement_timeout=0 -c lock_timeout=0",
    }
    return {"PATH": os.environ.get("PATH", ""), **{name: value for name, value in said.items() if value}}


async def _compare(here: Connection, there: Connection) -> Copied:
    """Every row of every table, and every sequence; raises CannotMove at the first difference."""
    tables, rows = await _tables(here), 0
    if tables != await _tables(there):
        raise CannotMove("the copy has other tables; the tenant is suspended where it was")
    for table in tables:
        query = f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {table} AS t"  # noqa: S608  # format('%I') made it  # nosec B608
        # The two servers read at the same time.
        ours, theirs = await asyncio.gather(here.fetchrow(query), there.fetchrow(query))
        assert ours is not None
        if ours != theirs:
            raise CannotMove(f"{table} is not the same in the copy; the tenant is suspended where it was")
        rows += int(ours[0])
    sequences = [tuple(row) for row in await sql.sequences(here, schemas=list(SERVICES))]
    if sequences != [tuple(row) for row in await sql.sequences(there, schemas=list(SERVICES))]:
        raise CannotMove("the copy's sequences stand elsewhere; the tenant is suspended where it was")
    return Copied(len(tables), rows, len(sequences))


async def _tables(db: Connection) -> list[str]:
    return [row[0] for row in await sql.tables(db, schemas=list(SERVICES))]


async def _behind(here: Connection, there: Connection) -> int:
    """How many transaction ids the destination must use up: what is new there must have higher ones than all that was copied,
    or a relay would take it for told (queries.sql, cut_outbox)."""
    return max(0, int(await sql.next_xid(here)) - int(await sql.next_xid(there)))


async def _switch(given: _Move, was: Place, to: Place) -> None:
    async with connected(given.settings, Place(given.settings.control_database)) as control:
        moved = await queries.move_place(
            control,
            code=given.tenant,
            host=to.host,
            port=to.port,
            was_host=was.host,
            was_port=was.port,
        )
    if moved is None:
        raise CannotMove(f"somebody else has moved or resumed {given.tenant} meanwhile")


def _told(given: _Move, place: Place) -> str:
    return f"{place.host or given.settings.postgres_host}:{place.port or given.settings.postgres_port}/{place.database}"
