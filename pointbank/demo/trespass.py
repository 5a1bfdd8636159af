"""Invariant 7, tried and not read: each role knocks at every door that is not its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg

from pointbank.figures import queries
from pointbank.logins import log_in
from pointbank.running import AUDITOR, Deployment
from shared.db import Connection
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
        if await _can_enter(deployment, tenant, part, neighbour=neighbour):
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


async def _can_enter(deployment: Deployment, tenant: str, part: str, *, neighbour: str) -> bool:
    try:
        db = await log_in(deployment.settings, tenant, part, enter=neighbour)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidAuthorizationSpecificationError):
        return False  # permission denied for database, or on its own server nobody of that name
    await db.close()
    return True
