"""PostgreSQL dies, loses its connections, and is held up."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import asyncpg

from tests.soak.nemesis.field import Fault, Field


async def postgres_killed(field: Field) -> None:
    field.arena.world.postgres.kill()
    await field.pause(0.0, 2.0)
    await asyncio.to_thread(field.arena.world.postgres.start)


async def postgres_restarted(field: Field) -> None:
    await asyncio.to_thread(field.arena.world.postgres.restart)


async def backends_terminated(field: Field) -> None:
    db = await field.admin()
    try:
        for _ in range(field.dice.randint(1, 4)):
            await db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'pb\\_%' AND pid <> pg_backend_pid()"
            )
            await field.pause(0.1, 0.5)
    finally:
        await db.close()


async def connections_exhausted(field: Field) -> str:
    """Somebody takes every connection that ordinary roles may have, and those of services are broken on top."""
    async with AsyncExitStack() as stack:
        taken = 0
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                db = await field.admin()
                stack.push_async_callback(db.close)
                taken += 1
        await field.pause(1.0, 3.0)
    return f"{taken} taken"


async def idle_transaction(field: Field) -> None:
    """Somebody's transaction stays open, with a snapshot and an id: the horizon stands still."""
    db = await field.books()
    try:
        async with db.transaction(isolation="repeatable_read"):
            await db.execute("CREATE TEMPORARY TABLE mine (n int)")
            await db.fetchval("SELECT count(*) FROM redeem.wallets")
            await field.pause(2.0, 5.0, long=(600.0, 605.0))
    finally:
        await db.close()


async def wallets_locked(field: Field) -> None:
    """Somebody's hand-made transaction holds the rows of half the wallets."""
    db = await field.books()
    try:
        async with db.transaction():
            await db.fetch(
                "SELECT 1 FROM redeem.wallets WHERE hashtext(wallet_id::text) % 2 = 0 FOR NO KEY UPDATE"
            )
            await field.pause(1.0, 5.0)
    finally:
        await db.close()


FAULTS: dict[str, Fault] = {
    "PostgreSQL is killed": postgres_killed,
    "PostgreSQL is restarted": postgres_restarted,
    "backends are terminated": backends_terminated,
    "connections are exhausted": connections_exhausted,
    "an idle transaction": idle_transaction,
    "wallets are locked": wallets_locked,
}
