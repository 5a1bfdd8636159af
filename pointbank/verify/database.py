"""The tenant's database as its auditor sees it: everything readable, nothing writable, all of it at one moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from pointbank.verify.messaging.topology import SERVICES
from pointbank.verify.sql import queries
from shared.config import Settings
from shared.db import Connection, connect, role_of

AUDITOR = "auditor"
CONTROL = "control"
"""No tenant can have this code: the auditor's role at the control database is named as if one had."""
PAGE = 5_000


class UnknownTenant(Exception):
    """The directory has no tenant of this code: nothing can be checked."""


@asynccontextmanager
async def auditor(settings: Settings, tenant: str) -> AsyncIterator[Connection]:
    """A connection of the tenant's auditor role, to where the directory says that the tenant is."""
    async with _control(settings) as control:
        place = await control.fetchrow(queries("directory.sql")["place"], tenant)
    if place is None:
        raise UnknownTenant(f"there is no tenant {tenant}; `pointbank tenant list` shows those there are")
    db = await _connect(
        settings,
        tenant,
        database=place["database"],
        host=place["host"] or settings.postgres_host,
        port=place["port"] or settings.postgres_port,
    )
    try:
        yield db
    finally:
        await db.close()


async def is_suspended(settings: Settings, tenant: str) -> bool:
    """Whether the directory says that the tenant is served by nobody, or is about to be."""
    async with _control(settings) as control:
        return bool(await control.fetchval(queries("directory.sql")["suspended"], tenant))


@asynccontextmanager
async def _control(settings: Settings) -> AsyncIterator[Connection]:
    control = await _connect(
        settings,
        CONTROL,
        database=settings.control_database,
        host=settings.postgres_host,
        port=settings.postgres_port,
    )
    try:
        yield control
    finally:
        await control.close()


async def _connect(settings: Settings, whose: str, *, database: str, host: str, port: int) -> Connection:
    role = role_of(whose, AUDITOR)
    return await connect(
        "postgresql://",
        host=host,
        port=port,
        database=database,
        user=role,
        password=settings.password_of(AUDITOR, role),
        server_settings={
            "application_name": "pointbank-verify",
            "timezone": "UTC",
            "jit": "off",
            "work_mem": "64MB",
        },
    )


class Snapshot:
    """One moment of the database, read in pages: however large a table is, only a page of it is held."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def apart(self) -> AbstractAsyncContextManager[Any]:
        """What fails within leaves the snapshot as it was before."""
        apart: AbstractAsyncContextManager[Any] = self._db.transaction()
        return apart

    async def rows(self, file: str, name: str, *arguments: Any) -> list[Any]:
        """All rows of a query that gives few."""
        return await self._db.fetch(queries(file)[name], *arguments)

    async def value(self, file: str, name: str, *arguments: Any) -> Any:
        """The one value of a query."""
        return await self._db.fetchval(queries(file)[name], *arguments)

    def pages(self, file: str, name: str, *arguments: Any) -> AsyncIterator[Sequence[Any]]:
        """The rows of a query that may give any number, page by page."""
        return self._read(queries(file)[name], *arguments)

    def service_pages(self, file: str, name: str, service: str) -> AsyncIterator[Sequence[Any]]:
        """The same, of one service's schema: its name stands in the query as {schema}."""
        assert service in SERVICES
        return self._read(queries(file)[name].replace("{schema}", service))

    async def service_rows(self, file: str, name: str, service: str) -> list[Any]:
        """All rows of a query that gives few, of one service's schema."""
        assert service in SERVICES
        return await self._db.fetch(queries(file)[name].replace("{schema}", service))

    async def copy(self, sql: str, take: Callable[[bytes], None], *arguments: Any) -> None:
        """The rows of a query in PostgreSQL's binary form of COPY, in pieces of any size."""
        failed: list[Exception] = []

        async def sink(piece: bytes) -> None:
            # What it raised inside would leave the connection in the middle of the COPY: it rises when that has ended.
            if not failed:
                try:
                    take(piece)
                except Exception as error:  # noqa: BLE001  # raised below
                    failed.append(error)

        await self._db.copy_from_query(sql, *arguments, output=sink, format="binary")
        if failed:
            raise failed[0]

    async def _read(self, sql: str, *arguments: Any) -> AsyncIterator[Sequence[Any]]:
        cursor = await self._db.cursor(sql, *arguments)
        page = await cursor.fetch(PAGE)
        while page:
            yield page
            page = await cursor.fetch(PAGE) if len(page) == PAGE else []


@asynccontextmanager
async def snapshot(db: Connection) -> AsyncIterator[Snapshot]:
    """All that is read within is of one moment."""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        yield Snapshot(db)
