"""Invariant 7, tried and not read: each role knocks at every door that is not its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg

from pointbank.logins import log_in
from pointbank.running import AUDITOR
from shared.config import Settings
from shared.messaging.keys import SERVICES
from shared.sql import load

queries = load("pointbank.demo", "trespass.sql")


@dataclass
class Trespass:
    """How many statements and logins were tried, and those that were let through."""

    tried: int = 0
    let_through: list[str] = field(default_factory=list)


async def trespass(settings: Settings, tenant: str, *, neighbour: str) -> Trespass:
    """Reads and fills each service's tables as every other, changes the books as their own service and as the auditor,
    enters the neighbour."""
    result = Trespass()
    for part in (*SERVICES, AUDITOR):
        await _knock(result, settings, tenant, part)
        result.tried += 1
        if await _can_enter(settings, tenant, part, neighbour=neighbour):
            result.let_through.append(f"{part} enters {neighbour}")
    return result


async def _knock(result: Trespass, settings: Settings, tenant: str, part: str) -> None:
    db = await log_in(settings, tenant, part)
    transaction = db.transaction()
    await transaction.start()
    try:
        await queries.ask_to_write(db)
        doors = await queries.doors(db, schemas=list(SERVICES), who=part)
        await queries.bring(db, statements=[row["statement"] for row in doors])
        await queries.knock(db)
        result.let_through += [f"{part}: {statement}" for statement in await queries.let_through(db)]
        result.tried += len(doors)
    finally:
        await transaction.rollback()
        await db.close()


async def _can_enter(settings: Settings, tenant: str, part: str, *, neighbour: str) -> bool:
    try:
        db = await log_in(settings, tenant, part, enter=neighbour)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidAuthorizationSpecificationError):
        return False  # permission denied for database, or on its own server nobody of that name
    await db.close()
    return True
