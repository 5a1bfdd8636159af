"""A tenant's books as a test reads and spoils them: by an administrator, who may change everything."""

from __future__ import annotations

from shared.config import Settings
from shared.db import Connection, connect, database_of

QUERIES = 1_000
"""The oracle has some 400, and asyncpg would keep 100: each is planned once, however often a test asks the oracle."""
_SETTINGS = {
    "jit": "off",  # as the oracle's own has it
    # No trigger, no foreign key. Not set for each transaction that spoils: that forgets every plan, and its end once more.
    "session_replication_role": "replica",
}


async def open_books(settings: Settings, tenant: str) -> Connection:
    """A connection, to be closed by who asks for it."""
    return await connect(
        settings.admin_dsn(),
        database=database_of(tenant),
        statement_cache_size=QUERIES,
        server_settings=_SETTINGS,
    )
