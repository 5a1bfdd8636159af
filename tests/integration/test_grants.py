"""Least privilege, the other way round: what is granted to a service, some statement of the service needs."""

import asyncio
import re

import asyncpg
import pytest

from shared.config import Settings
from shared.sql import load
from shared.tenants import Tenant
from tests.integration.test_sql import ROOT, SERVICES, Db, queries_of
from tests.support.tenants import new_tenant

# A row for each privilege; column is null where the whole table is meant.
GRANTED = """
SELECT c.relname AS "table", NULL AS "column", g.privilege_type AS privilege
FROM pg_class AS c
CROSS JOIN LATERAL aclexplode(c.relacl) AS g
WHERE c.relnamespace = $1::regnamespace AND NOT c.relispartition AND g.grantee = $2::regrole
UNION ALL
SELECT c.relname, a.attname, g.privilege_type
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid
CROSS JOIN LATERAL aclexplode(a.attacl) AS g
WHERE c.relnamespace = $1::regnamespace AND NOT c.relispartition AND g.grantee = $2::regrole
ORDER BY 1, 2, 3
"""
# What runs with its caller's rights; its statements are not seen from outside.
BODIES = "SELECT prosrc FROM pg_proc WHERE pronamespace = $1::regnamespace AND NOT prosecdef AND prosrc <> ''"
IN_A_BODY = {
    "SELECT": r"\b(FROM|JOIN)\s+{table}\b|\b{table}\.",
    "INSERT": r"\bINSERT INTO\s+{table}\b",
    "UPDATE": r"\bUPDATE\s+{table}\b|\bINSERT INTO\s+{table}\b[^;]*\bON CONFLICT\b[^;]*\bDO UPDATE\b",
    "DELETE": r"\bDELETE FROM\s+{table}\b",
}


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    return asyncio.run(new_tenant(settings))


def texts_of(service: str) -> list[str]:
    """Every statement that is run with a service's role: by itself, and by operators' commands."""
    used = [*queries_of(service), ("commands", load("pointbank.operating", "dead_letters.sql"))]
    return [text for _, queries in used for text in queries.texts().values()]


def copied_into(service: str) -> set[str]:
    """The tables that are filled by COPY, which stands in no `.sql` file."""
    sources = [*(ROOT / "shared/messaging").rglob("*.py"), *(ROOT / "services" / service).rglob("*.py")]
    return {
        table
        for source in sources
        for table in re.findall(r'(?:copy_records_to_table|= Rows)\(\s*"(\w+)"', source.read_text())
    }


async def prepared(db: Db, texts: list[str]) -> list[tuple[str, str]]:
    """(text, statement that executes it with nothing)."""
    found = []
    for number, text in enumerate(texts):
        kinds = [parameter.kind for parameter in (await db.prepare(text)).get_parameters()]
        await db.execute(f"PREPARE asked_{number} AS {text}")
        nothing = ", ".join("'{}'" if kind == "array" else "NULL" for kind in kinds)
        call = f"asked_{number}({nothing})" if kinds else f"asked_{number}"
        found.append((text, f"EXPLAIN (ANALYZE, TIMING OFF) EXECUTE {call}"))
    return found


async def is_refused(db: Db, statement: str) -> bool:
    savepoint = db.transaction()
    await savepoint.start()
    try:
        await db.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    except asyncpg.PostgresError:
        pass  # nulls where none may be: rights are looked at first
    finally:
        await savepoint.rollback()
    return False


async def is_needed(
    db: Db, role: str, revoke: str, word: re.Pattern[str], asked: list[tuple[str, str]]
) -> bool:
    transaction = db.transaction()
    await transaction.start()
    try:
        await db.execute(revoke)
        await db.execute(f"SET LOCAL ROLE {role}")
        for text, statement in asked:
            if word.search(text) and await is_refused(db, statement):
                return True
        return False
    finally:
        await transaction.rollback()


async def unused(db: Db, service: str, role: str) -> list[str]:
    await db.execute(f"SET search_path = {service}")
    # As services have it; and of a plan for nulls alone, parts that give nothing are left out with the rights that they need.
    await db.execute("SET plan_cache_mode = force_generic_plan")
    asked = await prepared(db, texts_of(service))
    bodies = [row[0] for row in await db.fetch(BODIES, service)]
    copied = copied_into(service)
    found = []
    for table, column, privilege in await db.fetch(GRANTED, service, role):
        if privilege == "INSERT" and table in copied:
            continue
        if any(re.search(IN_A_BODY[privilege].format(table=table), body) for body in bodies):
            continue
        what = privilege if column is None else f"{privilege} ({column})"
        revoke = f"REVOKE {what} ON {service}.{table} FROM {role}"
        if not await is_needed(db, role, revoke, re.compile(rf"\b{table}\b"), asked):
            found.append(f"{what} ON {table}")
    return found


@pytest.mark.parametrize("service", SERVICES)
async def test_nothing_is_granted_that_no_statement_needs(
    service: str, settings: Settings, tenant: Tenant
) -> None:
    db = await asyncpg.connect(settings.postgres_dsn, database=tenant.database)
    try:
        found = await unused(db, service, f"pb_{tenant.code}_{service}")
    finally:
        await db.close()
    assert found == []


async def test_a_grant_that_nobody_needs_is_noticed(settings: Settings, tenant: Tenant) -> None:
    db = await asyncpg.connect(settings.postgres_dsn, database=tenant.database)
    role = f"pb_{tenant.code}_tiers"
    try:
        await db.execute(f"GRANT DELETE, UPDATE (event_id) ON tiers.programmes TO {role}")
        found = await unused(db, "tiers", role)
    finally:
        await db.close()
    assert {"DELETE ON programmes", "UPDATE (event_id) ON programmes"} <= set(found)
