"""Nobody changes, deletes or empties what is append-only: every such table of every service, and a partition of it."""

import asyncio

import asyncpg
import pytest

from pointbank.verify.structure.catalogue import expected
from shared.config import Settings
from shared.tenants import Tenant
from tests.integration.test_sql import SERVICES, Db
from tests.support.tenants import connect_as, new_tenant

# The list that verify holds every tenant against: a test holds it against the migrations.
KEPT = sorted(name for name, table in expected().items() if "refuse_change" in table["triggers"])

# A row of anything: what it says does not matter here, and its CHECKs are gone for the moment.
COLUMNS = """
SELECT quote_ident(a.attname) AS name, CASE
    WHEN t.typcategory = 'A' THEN '{}'
    WHEN t.typcategory = 'E' THEN (SELECT min(e.enumlabel::text) FROM pg_enum AS e WHERE e.enumtypid = t.oid)
    WHEN t.typname IN ('timestamptz', 'timestamp', 'date') THEN now()::text
    WHEN t.typname = 'uuid' THEN '01a1f82f-1e80-7e8d-8405-0873dba865aa'
    WHEN t.typname IN ('json', 'jsonb') THEN '{}'
    WHEN t.typname = 'pg_snapshot' THEN '1:1:'
    WHEN t.typcategory = 'B' THEN 'false'
    ELSE '1'
END AS value
FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
"""
LAWS = "SELECT quote_ident(conname) FROM pg_constraint WHERE conrelid = $1::regclass AND contype IN ('c', 'f') AND conislocal"
PARTS = "SELECT relid::regclass::text FROM pg_partition_tree($1::regclass) WHERE isleaf ORDER BY relid::regclass = $1::regclass, 1"


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    return asyncio.run(new_tenant(settings))


async def with_a_row(db: Db, table: str) -> str:
    """Puts one row in the table; gives the partition where it is, or the table itself."""
    for (law,) in await db.fetch(LAWS, table):
        await db.execute(f"ALTER TABLE {table} DROP CONSTRAINT {law}")
    columns = await db.fetch(COLUMNS, table)
    names, values = (
        ", ".join(one["name"] for one in columns),
        ", ".join(f"'{one['value']}'" for one in columns),
    )
    return str(
        await db.fetchval(
            f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE VALUES ({values}) RETURNING tableoid::regclass::text"
        )
    )


async def refusal(db: Db, statement: str) -> str:
    savepoint = db.transaction()
    await savepoint.start()
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
            await db.execute(statement)
    finally:
        await savepoint.rollback()
    return str(refused.value)


async def changes(db: Db, table: str) -> list[str]:
    column = (await db.fetch(COLUMNS, table))[0]["name"]
    # Rows of other tables may name these: without CASCADE, PostgreSQL objects to that first.
    return [f"UPDATE {table} SET {column} = DEFAULT", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"]


@pytest.mark.parametrize("table", KEPT)
async def test_what_is_kept_refuses_changes_even_by_who_has_every_right(
    table: str, settings: Settings, tenant: Tenant
) -> None:
    db = await asyncpg.connect(settings.admin_dsn(), database=tenant.database)
    try:
        transaction = db.transaction()
        await transaction.start()
        for place in {table, await with_a_row(db, table)}:
            for change in await changes(db, place):
                assert "is append-only" in await refusal(db, change), change
        await transaction.rollback()
    finally:
        await db.close()


@pytest.mark.parametrize("table", KEPT)
async def test_neither_its_service_nor_the_auditor_has_a_right_to_change_what_is_kept(
    table: str, settings: Settings, tenant: Tenant
) -> None:
    for part in (table.partition(".")[0], "auditor"):
        db = await connect_as(settings, tenant, part)
        try:
            transaction = db.transaction()
            await transaction.start()
            await db.execute(
                "SET TRANSACTION READ WRITE"
            )  # read only is the auditor's habit; rights hold it back
            for place in {table, *[row[0] for row in await db.fetch(PARTS, table)][:1]}:
                for change in await changes(db, place):
                    assert "permission denied for table" in await refusal(db, change), change
            await transaction.rollback()
        finally:
            await db.close()


def test_every_service_keeps_something() -> None:
    assert {name.partition(".")[0] for name in KEPT} == set(SERVICES)
