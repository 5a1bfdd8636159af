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


def to_another_server(servers: embedded.Servers, settings: Settings) -> str:
    """Its DSN; the administrator of the first server logs in there too."""
    password = urlsplit(settings.postgres_dsn or "").password

    async def let_in() -> None:
        db = await asyncpg.connect(servers.postgres_dsn)
        await db.execute(f"ALTER ROLE postgres PASSWORD '{password}'")
        await db.close()

    asyncio.run(let_in())
    return f"postgresql://127.0.0.1:{urlsplit(servers.postgres_dsn).port}"
