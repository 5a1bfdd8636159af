"""Numbered SQL, forward only: each service's schema gets the messaging tables first, then its own.

A file runs in one transaction, as the tenant's owner role, with the service's schema as search path, and is recorded by
name and hash; a file that changed after it ran is a loud failure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import asyncpg

from shared.db import Connection

LOCK_KEY = 0x706F696E74  # "point": two migrators at once take turns
_RECORD = """
CREATE TABLE IF NOT EXISTS {schema}.migrations (
    name text PRIMARY KEY, sha256 text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())
"""


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
    """Brings one service's schema up to this code; gives the names of the files that ran. Safe to run twice or at once."""
    ran: list[str] = []
    quoted = {"schema": _quote(service), "service_role": _quote(service_role), "owner_role": _quote(owner)}
    for migration in migrations_of(service):
        async with db.transaction():
            await db.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
            await db.execute(f"SET LOCAL ROLE {quoted['owner_role']}")
            await db.execute(f"SET LOCAL search_path = {quoted['schema']}")
            await db.execute("SET LOCAL client_min_messages = warning")
            await db.execute(_RECORD.format(schema=quoted["schema"]))
            known = await db.fetchval("SELECT sha256 FROM migrations WHERE name = $1", migration.name)
            if known is not None:
                if known != migration.sha256:
                    raise ChangedMigration(f"{migration.name} ran with other content; add a new file instead")
                continue
            text = migration.text
            for word, value in quoted.items():
                text = text.replace("{{" + word + "}}", value)
            try:
                await db.execute(text)
            except asyncpg.PostgresError as error:
                error.add_note(f"in {migration.name} for role {service_role}")
                raise
            await db.execute(
                "INSERT INTO migrations (name, sha256) VALUES ($1, $2)", migration.name, migration.sha256
            )
            ran.append(migration.name)
    async with db.transaction():
        await db.execute(f"SET LOCAL ROLE {quoted['owner_role']}")
        await db.fetchval(f"SELECT {quoted['schema']}.ensure_partitions()")
    return ran


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
