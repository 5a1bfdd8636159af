"""Numbered SQL, forward only: each service's schema gets the messaging tables first, then its own.

A file runs in one transaction, as the tenant's owner role, with the service's schema as search path, and is recorded by
name and hash; a file that changed after it ran is a loud failure.

Processes go on while it runs, and so for a while the release before runs on what this one made (docs/upgrading.md). A file adds;
one that takes something away says whom it leaves behind, in a line `-- needs: 0071_birth_months.sql`: code that does not know
that earlier file of the same folder can't serve the tenant from there on.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import TypeVar

import asyncpg

from shared.db import Connection

LOCK_KEY = 0x706F696E74  # "point": two migrators at once take turns
LOCK_MS = 500
"""A table that somebody else holds is waited for so long at a time: who waits for a whole table makes all who come later wait."""
TRIES = 120
"""So often, a second apart on average, before the tenant is left as it is."""
_RECORD = """
CREATE TABLE IF NOT EXISTS {schema}.migrations (
    name text PRIMARY KEY, sha256 text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())
"""
_RAN = "SELECT name FROM {schema}.migrations"
_NEEDS = re.compile(r"^-- needs: (\S+\.sql)$", re.MULTILINE)
T = TypeVar("T")


class ChangedMigration(Exception):
    """A migration that has run stands in the code with other content."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `name` is the package and the file name, which order it."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def needs(self) -> list[str]:
        """The files that code must know to run on what this one leaves; none for one that only adds."""
        folder = self.name.rpartition("/")[0]
        return [f"{folder}/{file}" for file in _NEEDS.findall(self.text)]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a service's schema is: how many files have run in it, and which of them code must know to run on it."""

    version: int
    needs: list[str]


def migrations_of(service: str) -> Iterator[Migration]:
    """The files that make up a service's schema, in the order they run."""
    for package in ("shared.messaging", f"services.{service}"):
        folder = resources.files(package).joinpath("migrations")
        for file in sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name):
            yield Migration(f"{package}/{file.name}", file.read_text(encoding="utf-8"))


def schema_version(service: str) -> int:
    """How many migrations this code knows of: the version that a service needs."""
    return sum(1 for _ in migrations_of(service))


async def migrate(db: Connection, *, service: str, owner: str, service_role: str) -> list[str]:
    """Brings one service's schema up to this code; gives the names of the files that ran. Safe to run twice, at once, and while
    the service runs: no lock is waited for longer than LOCK_MS at a time. Raises LockNotAvailableError where one stays held."""
    words = {"schema": _quote(service), "service_role": _quote(service_role), "owner_role": _quote(owner)}
    record = _RECORD.format(schema=words["schema"])
    known = await _in_turn(db, words, partial(_known, db, record))
    ran = []
    for migration in migrations_of(service):
        _must_be_as_it_ran(migration, known)
        if migration.name in known:
            continue
        if await patiently(partial(_in_turn, db, words, partial(_run, db, migration, words))):
            ran.append(migration.name)
    await patiently(partial(_in_turn, db, words, partial(db.fetchval, "SELECT ensure_partitions()")))
    return ran


async def standing(db: Connection, *, service: str) -> Standing:
    """How far a service's schema is, whoever brought it there; nowhere, where nobody began."""
    if await db.fetchval("SELECT to_regclass($1)", f"{_quote(service)}.migrations") is None:
        return Standing(0, [])
    ran = {row["name"] for row in await db.fetch(_RAN.format(schema=_quote(service)))}
    needs = {name for one in migrations_of(service) if one.name in ran for name in one.needs}
    return Standing(len(ran), sorted(needs))


async def _in_turn(db: Connection, words: dict[str, str], work: Callable[[], Awaitable[T]]) -> T:
    """A transaction of the owner's, one migrator at a time."""
    async with db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
        await db.execute(
            f"SET LOCAL ROLE {words['owner_role']}; SET LOCAL search_path = {words['schema']}; "
            f"SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = {LOCK_MS}"
        )
        return await work()


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Again and again while somebody holds what it needs."""
    for left in reversed(range(TRIES)):
        try:
            return await work()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if not left:
                error.add_note("somebody holds a table for minutes: pg_stat_activity and pg_locks say who")
                raise
            await asyncio.sleep(random.uniform(0.1, 1.0))  # noqa: S311
    raise AssertionError("the last try returns or raises")


async def _known(db: Connection, record: str) -> dict[str, str]:
    await db.execute(record)
    return {row["name"]: row["sha256"] for row in await db.fetch("SELECT name, sha256 FROM migrations")}


async def _run(db: Connection, migration: Migration, words: dict[str, str]) -> bool:
    known = await db.fetchval("SELECT sha256 FROM migrations WHERE name = $1", migration.name)
    if known is not None:  # another was faster
        _must_be_as_it_ran(migration, {migration.name: known})
        return False
    text = migration.text
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    try:
        await db.execute(text)
    except asyncpg.PostgresError as error:
        error.add_note(f"in {migration.name} for role {words['service_role']}")
        raise
    await db.execute(
        "INSERT INTO migrations (name, sha256) VALUES ($1, $2)", migration.name, migration.sha256
    )
    return True


def _must_be_as_it_ran(migration: Migration, known: dict[str, str]) -> None:
    if known.get(migration.name, migration.sha256) != migration.sha256:
        raise ChangedMigration(f"{migration.name} ran with other content; add a new file instead")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
