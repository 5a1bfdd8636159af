"""How the tests' own servers differ from everybody's, and how one is another's neighbour."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import asyncpg

from pointbank import embedded
from shared.config import Settings

UNTENDED = {"fsync": "off", "autovacuum_naptime": "1h"}
"""PostgreSQL leaves it to the kernel when its pages reach the disk. Tests kill processes, never the machine, and what a killed
server has written the kernel keeps; a thousand databases that are synced at the end cost half a minute. Nor are databases that
live for a minute, each of over a thousand tables, looked through again and again for something to vacuum."""


def log_in_lightly(servers: embedded.Servers) -> None:
    """Passwords of this server are hashed once, not 4,096 times: tests log in tens of thousands of times, and make six roles for
    each tenant. PostgreSQL 15 can't: there it stays as it is."""

    async def once() -> None:
        db = await asyncpg.connect(servers.postgres_dsn)
        try:
            if await db.fetchval("SELECT current_setting('scram_iterations', true)") is not None:
                await db.execute("ALTER SYSTEM SET scram_iterations = 1")
                await db.execute("SELECT pg_reload_conf()")
        finally:
            await db.close()

    asyncio.run(once())


def to_another_server(servers: embedded.Servers, settings: Settings) -> str:
    """Its DSN; the administrator of the first server logs in there too."""
    password = urlsplit(settings.postgres_dsn or "").password

    async def let_in() -> None:
        db = await asyncpg.connect(servers.postgres_dsn)
        await db.execute(f"ALTER ROLE postgres PASSWORD '{password}'")
        await db.close()

    asyncio.run(let_in())
    return f"postgresql://127.0.0.1:{urlsplit(servers.postgres_dsn).port}"
