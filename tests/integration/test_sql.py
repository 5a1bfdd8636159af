"""SQL as PostgreSQL sees it: the role that runs a query may, and schema.sql tells the truth."""

import asyncio
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from shared.config import Settings
from shared.db import database_of
from shared.messaging.queries import queries as messaging
from shared.sql import Queries, load
from shared.tenants import Tenant
from shared.upkeep import queries as upkeep
from tests.support.tenants import connect_as, new_tenant

ROOT = Path(__file__).parents[2]
SERVICES = ("members", "earn", "redeem", "tiers", "notifier")
Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# What a schema is made of, by name, without its own name in it.
DESCRIPTION = """
SELECT c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull::text || ' '
    || a.attidentity::text || a.attgenerated::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
UNION ALL
SELECT c.relname || ': ' || n.conname, pg_get_constraintdef(n.oid)
FROM pg_class AS c
JOIN pg_constraint AS n ON n.conrelid = c.oid AND n.contype <> 'n'
WHERE c.relnamespace = $1::regnamespace AND NOT c.relispartition
UNION ALL
SELECT c.relname || ': ' || i.relname, replace(pg_get_indexdef(i.oid), $1 || '.', '')
FROM pg_class AS c
JOIN pg_index AS x ON x.indrelid = c.oid
JOIN pg_class AS i ON i.oid = x.indexrelid
WHERE c.relnamespace = $1::regnamespace AND NOT c.relispartition
UNION ALL
SELECT c.relname, coalesce(pg_get_partkeydef(c.oid), 'not partitioned')
FROM pg_class AS c
WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    return asyncio.run(new_tenant(settings))


def queries_of(service: str) -> list[tuple[str, Queries]]:
    return [("messaging", messaging), ("upkeep", upkeep), *own_queries(service)]


def own_queries(service: str) -> list[tuple[str, Queries]]:
    """Every file of queries in a service's folders. schema.sql is for reading, and migrations are run as they stand."""
    folder = ROOT / "services" / service
    files = (file.relative_to(folder) for file in sorted(folder.rglob("*.sql")))
    return [
        (str(file), load(f"services.{service}", str(file)))
        for file in files
        if file.name != "schema.sql" and "migrations" not in file.parts
    ]


async def explain(db: Db, name: str, text: str) -> None:
    """Plans a query and checks its privileges, which preparing it alone does not."""
    parameters = (await db.prepare(text)).get_parameters()
    nulls = f"({', '.join(['NULL'] * len(parameters))})" if parameters else ""
    await db.execute(f"PREPARE {name} AS {text}; EXPLAIN EXECUTE {name}{nulls}; DEALLOCATE {name}")


@pytest.mark.parametrize("service", SERVICES)
async def test_every_query_can_be_run_by_the_role_that_runs_it(
    service: str, settings: Settings, tenant: Tenant
) -> None:
    db = await connect_as(settings, tenant, service)
    refused: dict[str, str] = {}
    prepared = 0
    try:
        for file, queries in queries_of(service):
            for name, text in queries.texts().items():
                try:
                    await explain(db, f"tried_{prepared}", text)
                except asyncpg.PostgresError as error:
                    refused[f"{file}:{name}"] = str(error)
                prepared += 1
    finally:
        await db.close()
    assert refused == {}
    assert prepared > len(messaging.texts()) + len(upkeep.texts())


async def described(db: Db, schema: str) -> dict[str, Any]:
    await db.execute(f"SET search_path = {schema}")
    return {row[0]: row[1] for row in await db.fetch(DESCRIPTION, schema)}


@pytest.mark.parametrize("service", SERVICES)
async def test_the_schema_for_reading_is_the_migrated_one(
    service: str, settings: Settings, tenant: Tenant
) -> None:
    db = await asyncpg.connect(settings.postgres_dsn, database=database_of(tenant.code))
    written = resources.files(f"services.{service}").joinpath("schema.sql").read_text(encoding="utf-8")
    try:
        migrated = await described(db, service)
        await db.execute(f"CREATE SCHEMA reading_{service}; SET search_path = reading_{service}; {written}")
        read = await described(db, f"reading_{service}")
        await db.execute(f"DROP SCHEMA reading_{service} CASCADE")
    finally:
        await db.close()
    common = set(await _messaging_tables())
    own = {name: text for name, text in migrated.items() if name.split(".")[0].split(":")[0] not in common}
    assert read == own
    assert len(read) > 20


async def _messaging_tables() -> list[str]:
    folder = resources.files("shared.messaging").joinpath("migrations")
    texts = [file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")]
    lines = [line for text in texts for line in text.splitlines()]
    made = [line.split()[2] for line in lines if line.startswith("CREATE TABLE ")]
    return [*made, "migrations"]


async def test_a_query_that_its_role_may_not_run_is_noticed(settings: Settings, tenant: Tenant) -> None:
    db = await connect_as(settings, tenant, "members")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await explain(db, "forbidden", "DELETE FROM wallets WHERE wallet_id = $1")
    finally:
        await db.close()
