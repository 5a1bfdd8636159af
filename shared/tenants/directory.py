"""The directory of tenants, as one service sees it: who is there, and whether this code can serve them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

from shared.config import Settings
from shared.db import Connection, Pool, connect, open_pool
from shared.migrate import migrations_of
from shared.silence import answered_within_s
from shared.sql import load
from shared.tenants import Tenant, identity_key

queries = load("shared.tenants")


SERVED = ("active", "suspending")
"""States in which a tenant's services run for it; while it is being suspended, they finish what they hold."""


def control_role(part: str) -> str:
    """The role that a service, or the auditor, logs in with at the control database."""
    return f"pb_control_{part}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tenant's database is: on the administrator's own server, unless the directory names another."""

    database: str
    host: str | None = None
    port: int | None = None


async def find_place(settings: Settings, tenant: str, *, part: str) -> Place | None:
    """A tenant's database with host and port, asked by a service or the auditor; None where nobody made the tenant."""
    async with _logged_in(settings, part) as db:
        row = await queries.place_of(db, code=tenant)
    if row is None:
        return None
    return Place(
        row["database"], row["host"] or settings.postgres_host, row["port"] or settings.postgres_port
    )


async def states_of(settings: Settings, *, part: str) -> dict[str, str]:
    """The tenants of this cell by code: creating, active, suspending or suspended; asked by a service or the auditor."""
    async with _logged_in(settings, part) as db:
        return {row["code"]: row["state"] for row in await queries.states_of(db, cell=settings.cell)}


@asynccontextmanager
async def _logged_in(settings: Settings, part: str) -> AsyncIterator[Connection]:
    role = control_role(part)
    db = await connect(
        "postgresql://",
        host=settings.postgres_host,
        port=settings.postgres_port,
        database=settings.control_database,
        user=role,
        password=settings.password_of(part, role),
        command_timeout=answered_within_s(settings.statement_timeout_ms),
    )
    try:
        yield db
    finally:
        await db.close()


@dataclass(frozen=True, slots=True)
class Listed:
    """A tenant and whether it can be served: `state` is active, or why not (creating, suspending, suspended, migrating). `detail`:
    of one that is migrating, what it waits for."""

    tenant: Tenant
    state: str
    detail: str = ""


class Directory:
    """Reads the control database with the service's own role."""

    def __init__(self, settings: Settings, service: str) -> None:
        self._settings = settings
        self._service = service
        self._pool: Pool | None = None
        self._known = frozenset(one.name for one in migrations_of(service))
        self._listed: tuple[Listed, ...] | None = None
        self._mark: str | None = None
        # It never changes.
        self._identity_key = cache(lambda code: identity_key(settings, code))

    async def open(self) -> None:
        """Opens the pool; no connection yet."""
        role = control_role(self._service)
        self._pool = await open_pool(
            self._settings,
            database=self._settings.control_database,
            user=role,
            password=self._settings.password_of(self._service, role),
            size=1,
            application=f"pointbank-{self._service}",
        )

    async def close(self) -> None:
        """Closes it."""
        if self._pool is not None:
            await self._pool.close()

    async def tenants(self) -> tuple[Listed, ...]:
        """Every tenant, by code; the same tuple as before where nothing has changed."""
        # The mark first: what changes after it is seen by the next look, never missed.
        mark = await queries.tenants_mark(self._opened, service=self._service)
        if self._listed is None or mark != self._mark:
            self._listed, self._mark = await self._list(), mark
        return self._listed

    async def _list(self) -> tuple[Listed, ...]:
        rows = await queries.tenants_of(self._opened, service=self._service)
        return tuple(
            Listed(
                Tenant(
                    code=row["code"],
                    cell=row["cell"],
                    database=row["database"],
                    host=row["host"] or self._settings.postgres_host,
                    port=row["port"] or self._settings.postgres_port,
                    identity_key=self._identity_key(row["code"]),
                ),
                *self._state(row["state"], row["version"], row["version_state"], row["needs"]),
            )
            for row in rows
        )

    def _state(
        self, state: str, version: int | None, version_state: str | None, needs: list[str] | None
    ) -> tuple[str, str]:
        # Tables first, processes after: what this code needs must be there, and what came later must not have left it behind.
        if state not in SERVED:
            return state, ""
        if version is None or version < len(self._known):
            return (
                "migrating",
                f"{version or 0} of the {len(self._known)} migrations of this release have run: `pointbank migrate`",
            )
        if behind := sorted(set(needs or ()) - self._known):
            return "migrating", f"this release is too old for its tables, they need {', '.join(behind)}"
        if version_state == "migrating":
            return "migrating", "somebody said so"
        return state, ""

    async def released(self) -> bool:
        """Whether `pointbank migrate` of this release, or of a later one, has been at every tenant."""
        version = await queries.released(self._opened, service=self._service)
        return version is not None and version >= len(self._known)

    async def room(self) -> int:
        """How many connections the control database's server has for services and all others but superusers."""
        return int(await queries.room(self._opened))

    async def report(self, tenant: str, positions: Mapping[str, int]) -> None:
        """Tells how far this service has applied the streams it hears."""
        await queries.report_positions(
            self._opened,
            tenant=tenant,
            service=self._service,
            streams=list(positions),
            positions=list(positions.values()),
        )

    async def lowest_position(self, tenant: str, stream: str, services: Sequence[str]) -> int | None:
        """Where a rebuilt stream must start at the latest; None while a required hearer has never reported."""
        found = await queries.lowest_position(
            self._opened, tenant=tenant, stream=stream, services=list(services)
        )
        return None if found is None else int(found)

    async def highest_position(self, tenant: str, stream: str) -> int | None:
        """How far the furthest hearer has reported; None where none has."""
        found = await queries.highest_position(self._opened, tenant=tenant, stream=stream)
        return None if found is None else int(found)

    @property
    def _opened(self) -> Pool:
        assert self._pool is not None, "the directory is not open"
        return self._pool
