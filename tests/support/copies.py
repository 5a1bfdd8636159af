"""Tenants that are copied from one that was provisioned: most tests need a tenant, few of them how it came to be.

Copying a database takes a seventh of what running all migrations does. What a copy still lacks, the product's own
provisioning completes (tests/integration/test_copies.py holds a copy beside a tenant that was made whole).
"""

from __future__ import annotations

import secrets

from shared.config import Settings
from shared.db import database_of, role_of
from shared.tenants.directory import Place
from shared.tenants.provision import OWNER, connected, create_tenant, make_roles, quoted

_ORIGINALS: dict[str, str] = {}
"""By the administrator's DSN of a server: the code of the tenant there that the others are copied from."""

_RELETTER = """
CREATE TEMPORARY TABLE moved ON COMMIT DROP AS
SELECT before.oid AS before, after.oid AS after
FROM pg_roles AS before JOIN pg_roles AS after ON after.rolname = replace(before.rolname, '{before}', '{after}')
WHERE before.rolname LIKE '{before}%';
UPDATE pg_class AS c SET
    relowner = moved.after, relacl = replace(relacl::text, '{before}', '{after}')::aclitem[]
FROM moved WHERE relowner = moved.before;
UPDATE pg_attribute SET attacl = replace(attacl::text, '{before}', '{after}')::aclitem[] WHERE attacl IS NOT NULL;
UPDATE pg_type AS t SET
    typowner = moved.after, typacl = replace(typacl::text, '{before}', '{after}')::aclitem[]
FROM moved WHERE typowner = moved.before;
UPDATE pg_proc AS p SET
    proowner = moved.after, proacl = replace(proacl::text, '{before}', '{after}')::aclitem[]
FROM moved WHERE proowner = moved.before;
UPDATE pg_namespace AS n SET
    nspowner = moved.after, nspacl = replace(nspacl::text, '{before}', '{after}')::aclitem[]
FROM moved WHERE nspowner = moved.before;
UPDATE pg_statistic_ext AS s SET stxowner = moved.after FROM moved WHERE stxowner = moved.before;
UPDATE pg_default_acl AS d SET
    defaclrole = moved.after, defaclacl = replace(defaclacl::text, '{before}', '{after}')::aclitem[]
FROM moved WHERE defaclrole = moved.before;
UPDATE pg_shdepend AS d SET refobjid = moved.after
FROM moved
WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = moved.before
    AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database());
"""
"""Whose the things of a copy are: of the roles of its own code. Statements of SQL for it would be thousands."""


async def copy_tenant(settings: Settings, code: str) -> None:
    """Makes a tenant, as `create_tenant` does."""
    before = await _original(settings)
    database = database_of(code)
    async with connected(settings, Place("")) as db:
        await make_roles(settings, code, db)
        owner = quoted(role_of(code, OWNER))
        await db.execute(
            f"CREATE DATABASE {quoted(database)} OWNER {owner} TEMPLATE {quoted(database_of(before))}"
        )
    async with connected(settings, Place(database)) as db, db.transaction():
        await db.execute(_RELETTER.format(before=f"pb_{before}_", after=f"pb_{code}_"))
    await create_tenant(settings, code)


async def _original(settings: Settings) -> str:
    server = settings.admin_dsn()
    if server not in _ORIGINALS:
        code = f"o{secrets.token_hex(4)}"
        # In a directory of its own: nobody serves it, so nobody is in its database when it is copied.
        alone = settings.model_copy(update={"control_database": f"pointbank_original_{code}"})
        await create_tenant(alone, code)
        _ORIGINALS[server] = code
    return _ORIGINALS[server]
