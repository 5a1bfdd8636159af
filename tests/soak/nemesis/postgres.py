"""PostgreSQL dies, loses its connections, and is held up."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress

import asyncpg

from tests.soak.nemesis.field import Fault, Field
from tests.soak.nemesis.refusals import TRIED_S, LogSince, backends, logins_refused

TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE usename LIKE 'pb\\_%' AND pid <> pg_backend_pid()
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
NEXT_ID = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"


async def postgres_killed(field: Field) -> None:
    field.met["connections broken"] += await backends(field)
    field.arena.world.postgres.kill()
    await field.pause(0.0, 2.0)
    await asyncio.to_thread(field.arena.world.postgres.start)


async def postgres_restarted(field: Field) -> None:
    field.met["connections broken"] += await backends(field)
    await asyncio.to_thread(field.arena.world.postgres.restart)


async def backends_terminated(field: Field) -> None:
    db = await field.admin()
    try:
        for _ in range(field.dice.randint(1, 4)):
            field.met["connections broken"] += await db.fetchval(TERMINATE)
            await field.pause(0.1, 0.5)
    finally:
        await db.close()


async def connections_exhausted(field: Field) -> str:
    """Somebody takes every connection that there is, breaks those of services, and takes theirs too; until one of them was
    refused a new one."""
    log = LogSince(field.arena.world.postgres.log)
    async with AsyncExitStack() as stack:
        taken = await _all_taken(field, stack)
        field.met["connections broken"] += await taken[0].fetchval(TERMINATE)
        deadline = time.monotonic() + field.dice.uniform(1.0, 3.0)
        refused_by = deadline + TRIED_S
        while time.monotonic() < deadline or (
            not logins_refused(log.text()) and time.monotonic() < refused_by
        ):
            taken += await _all_taken(field, stack)
            await asyncio.sleep(0.05)
    field.undone()
    field.met["logins refused"] += logins_refused(log.text())
    return f"{len(taken)} taken"


async def _all_taken(field: Field, stack: AsyncExitStack) -> list[asyncpg.Connection[asyncpg.Record]]:
    taken: list[asyncpg.Connection[asyncpg.Record]] = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            taken.append(await field.admin())
            stack.push_async_callback(taken[-1].close)
    return taken


async def idle_transaction(field: Field) -> None:
    """Somebody's transaction stays open, with a snapshot and an id: the horizon stands still."""
    db, beside = await field.books(), await field.admin()
    try:
        async with db.transaction(isolation="repeatable_read"):
            await db.execute("CREATE TEMPORARY TABLE mine (n int)")
            await db.fetchval("SELECT count(*) FROM redeem.wallets")
            began = await beside.fetchval(NEXT_ID)
            await field.pause(2.0, 5.0, long=(600.0, 605.0))
            field.met["transactions meanwhile"] += await beside.fetchval(NEXT_ID) - began
    finally:
        await beside.close()
        await db.close()


async def wallets_locked(field: Field) -> None:
    """Somebody's hand-made transaction holds the rows of half the wallets."""
    db, beside = await field.books(), await field.admin()
    try:
        async with db.transaction():
            await db.fetch(
                "SELECT 1 FROM redeem.wallets WHERE hashtext(wallet_id::text) % 2 = 0 FOR NO KEY UPDATE"
            )
            until = time.monotonic() + field.dice.uniform(1.0, 5.0)
            while time.monotonic() < until:
                field.met["looks at who waited for them"] += await beside.fetchval(WAITING)
                await asyncio.sleep(0.1)
    finally:
        await beside.close()
        await db.close()


FAULTS: dict[str, Fault] = {
    "PostgreSQL is killed": postgres_killed,
    "PostgreSQL is restarted": postgres_restarted,
    "backends are terminated": backends_terminated,
    "connections are exhausted": connections_exhausted,
    "an idle transaction": idle_transaction,
    "wallets are locked": wallets_locked,
}
