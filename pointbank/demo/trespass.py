"""Invariant 7, tried and not read: each role knocks at every door that is not its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg

from pointbank.figures import queries
from pointbank.running import AUDITOR, Deployment
from shared.db import Connection, database_of, role_of
from shared.messaging.keys import SERVICES

_LEDGER = {"redeem": ("ledger", "postings", "audit"), "earn": ("decisions", "bills", "audit")}


@dataclass
class Trespass:
    """How many statements and logins were tried, and those that were let through."""

    tried: int = 0
    let_through: list[str] = field(default_factory=list)


async def trespass(deployment: Deployment, tenant: str, *, neighbour: str) -> Trespass:
    """Reads each service's tables as every other, changes the books as their own service, enters the neighbour."""
    result = Trespass()
    auditor = await deployment.auditor(tenant)
    try:
        tables = await queries.foreign_tables(auditor, schemas=list(SERVICES))
        for table in tables:
            await _must_be_refused(result, auditor, table["deletes"], "auditor")
    finally:
        await auditor.close()
    for service in SERVICES:
        db = await deployment.login(tenant, service)
        try:
            for table in tables:
                if table["schema"] != service:
                    await _must_be_refused(result, db, table["reads"], service)
                elif table["name"] in _LEDGER.get(service, ()):
                    await _must_be_refused(result, db, table["deletes"], service)
                    await _must_be_refused(result, db, table["truncates"], service)
        finally:
            await db.close()
    for part in (*SERVICES, AUDITOR):
        result.tried += 1
        if await _can_enter(
            deployment, role=role_of(tenant, part), part=part, database=database_of(neighbour)
        ):
            result.let_through.append(f"{part} enters {neighbour}")
    return result


async def _must_be_refused(result: Trespass, db: Connection, statement: str, who: str) -> None:
    result.tried += 1
    transaction = db.transaction()
    await transaction.start()
    try:
        await queries.ask_to_write(db)
        await db.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return
    finally:
        await transaction.rollback()
    result.let_through.append(f"{who}: {statement}")


async def _can_enter(deployment: Deployment, *, role: str, part: str, database: str) -> bool:
    settings = deployment.settings
    try:
        db = await asyncpg.connect(
            host=settings.postgres_host,
            port=settings.postgres_port,
            user=role,
            password=settings.password_of(part, role),
            database=database,
        )
    except asyncpg.InsufficientPrivilegeError:  # permission denied for database
        return False
    await db.close()
    return True
