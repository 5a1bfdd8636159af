"""Transaction ids: events are told apart by them, so a server that a tenant was copied to must have counted as far as the one that
it came from (docs/decisions/0173, 0273)."""

from __future__ import annotations

from shared.db import Connection
from shared.messaging.keys import SERVICES
from shared.messaging.queries import queries as messaging

AT_ONCE = 50_000
MOST = 50_000_000
"""Transaction ids that are used up: some minutes."""
_BURN = """
CREATE TEMPORARY TABLE burned (x int) ON COMMIT DELETE ROWS;
CREATE FUNCTION pg_temp.burn(times int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR k IN 1..times LOOP
        BEGIN
            INSERT INTO burned VALUES (k);  -- a subtransaction that writes has an id of its own
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END;
    END LOOP;
END $$
"""


class TooFarBehind(Exception):
    """The server has counted too few transactions to be brought forward by using them up; nothing was changed."""


async def burn(db: Connection, count: int) -> None:
    """Uses up so many transaction ids of the server, in sessions of an administrator; of 0 or less none."""
    if count <= 0:
        return
    if count > MOST:
        raise TooFarBehind(
            f"the server's transaction ids are {count:,} behind, and events are told apart by them: bring them forward with "
            "pg_resetwal (docs/operating.md), or restore a physical copy"
        )
    await db.execute(_BURN)
    while count > 0:
        await db.execute("SELECT pg_temp.burn($1::int)", min(count, AT_ONCE))
        count -= AT_ONCE


async def bring_forward(db: Connection) -> None:
    """The server counts on from where this database's newest cuts and events were written, by an administrator's connection to the
    database. Raises TooFarBehind. Where it was written here there is nothing to do."""
    behind = 0
    try:
        for service in SERVICES:
            await db.execute(f"SET search_path = {service}")
            behind = max(behind, int((await messaging.last_cut(db))["behind"]))
    finally:
        await db.execute("RESET search_path")
    await burn(db, behind)
