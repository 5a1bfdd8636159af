"""A tenant that tests get as a copy is what provisioning makes: the same things, of the same roles, with the same rights."""

from __future__ import annotations

import secrets

from shared.config import Settings
from shared.db import database_of
from shared.messaging.keys import SERVICES
from shared.tenants.directory import Place
from shared.tenants.provision import connected, create_tenant
from tests.support.copies import copy_tenant

THINGS = """
SELECT 'relation', n.nspname, c.relname, c.relkind::text, c.relowner::regrole::text, c.relacl::text
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_|information_schema'
UNION ALL
SELECT 'column', a.attrelid::regclass::text, a.attname, a.attnum::text, '', a.attacl::text
FROM pg_attribute AS a
WHERE a.attacl IS NOT NULL
UNION ALL
SELECT 'type', n.nspname, t.typname, t.typtype::text, t.typowner::regrole::text, t.typacl::text
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE n.nspname !~ '^pg_|information_schema'
UNION ALL
SELECT 'function', n.nspname, p.proname, pg_get_functiondef(p.oid), p.proowner::regrole::text, p.proacl::text
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_|information_schema'
UNION ALL
SELECT 'schema', '', nspname, '', nspowner::regrole::text, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
UNION ALL
SELECT 'statistics', '', stxname, '', stxowner::regrole::text, '' FROM pg_statistic_ext
UNION ALL
SELECT 'default', defaclnamespace::regnamespace::text, defaclobjtype::text, '', defaclrole::regrole::text, defaclacl::text
FROM pg_default_acl
UNION ALL
SELECT 'database', '', '', '', datdba::regrole::text, datacl::text FROM pg_database WHERE datname = current_database()
UNION ALL
SELECT 'setting', '', '', '', setrole::regrole::text, setconfig::text
FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT 'depends', classid::regclass::text, refobjid::regrole::text, deptype::text, count(*)::text, ''
FROM pg_shdepend
WHERE refclassid = 'pg_authid'::regclass AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY 2, 3, 4
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled::text, ''
FROM pg_trigger
WHERE NOT tgisinternal
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '' FROM pg_constraint
"""


async def things_of(settings: Settings, code: str) -> list[tuple[str, ...]]:
    """All that there is in a tenant's database, with the tenant's code left out of every name."""
    async with connected(settings, Place(database_of(code))) as db:
        rows = await db.fetch(THINGS)
    return sorted(tuple(str(value).replace(f"pb_{code}", "pb_T") for value in row) for row in rows)


async def listed(settings: Settings, code: str) -> list[tuple[str, ...]]:
    """What the directory says of a tenant, with its code left out of every name."""
    async with connected(settings, Place(settings.control_database)) as db:
        rows = await db.fetch(
            """
            SELECT t.cell, t.database, t.host, t.port, t.state, v.service, v.version, v.state, v.detail, v.needs
            FROM control.tenants AS t JOIN control.schema_versions AS v ON v.tenant = t.code
            WHERE t.code = $1
            ORDER BY v.service
            """,
            code,
        )
    return [tuple(str(value).replace(f"pb_{code}", "pb_T") for value in row) for row in rows]


async def test_a_copy_is_what_provisioning_makes(settings: Settings) -> None:
    made, copied = (f"{kind}{secrets.token_hex(4)}" for kind in "mc")
    await create_tenant(settings, made)
    await copy_tenant(settings, copied)
    expected, found = await things_of(settings, made), await things_of(settings, copied)
    assert len(expected) > 2_500
    assert set(found) ^ set(expected) == set()
    assert found == expected
    stands, said = await listed(settings, made), await listed(settings, copied)
    assert len(stands) == len(SERVICES)
    assert said == stands
