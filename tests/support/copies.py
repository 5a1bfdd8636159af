"""Tenants that are copied from one that was provisioned: most tests need a tenant, few of them how it came to be.

Copying a database takes a seventh of what running all migrations does. What a copy still lacks is what belongs to no database:
its roles, what they may and are set to there, and its lines in the directory (tests/integration/test_copies.py holds a copy
beside a tenant that was made whole).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from shared.config import Settings
from shared.db import Connection, database_of, role_of
from shared.messaging.keys import SERVICES
from shared.migrate import Standing, standing
from shared.tenants.directory import Place, queries
from shared.tenants.provision import (
    AUDITOR,
    OWNER,
    connected,
    create_tenant,
    make_roles,
    prepare_control,
    quoted,
    run_file,
)


@dataclass(frozen=True)
class Original:
    """The tenant of a server that the others there are copied from, and how far its schemas are."""

    code: str
    standings: Mapping[str, Standing]


_ORIGINALS: dict[str, Original] = {}
"""By the administrator's DSN of a server."""
_PREPARED: set[tuple[str, str]] = set()
"""The directories that are there: the administrator's DSN and the control database."""

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


_SET = """
GRANT CONNECT ON DATABASE {database} TO {role};
ALTER ROLE {role} IN DATABASE {database} SET search_path = {schema};
"""
"""What tenant_schema.sql says of a database and not in it."""


async def copy_tenant(settings: Settings, code: str) -> None:
    """Makes a tenant, as `create_tenant` does."""
    original = await _original(settings)
    database = database_of(code)
    async with connected(settings, Place("")) as db:
        await make_roles(settings, code, db)
        owner = quoted(role_of(code, OWNER))
        await db.execute(
            f"CREATE DATABASE {quoted(database)} OWNER {owner} TEMPLATE {quoted(database_of(original.code))}"
        )
    async with connected(settings, Place(database)) as db, db.transaction():
        await db.execute(_RELETTER.format(before=f"pb_{original.code}_", after=f"pb_{code}_"))
        await _set(db, code, quoted(database))
    await _list(settings, code, original.standings)


async def _set(db: Connection, code: str, database: str) -> None:
    await run_file(db, "tenant_database.sql", database=database, auditor=quoted(role_of(code, AUDITOR)))
    for service in SERVICES:
        role = quoted(role_of(code, service))
        await db.execute(_SET.format(database=database, role=role, schema=quoted(service)))


async def _list(settings: Settings, code: str, standings: Mapping[str, Standing]) -> None:
    directory = (settings.admin_dsn(), settings.control_database)
    if directory not in _PREPARED:
        await prepare_control(settings)
        _PREPARED.add(directory)
    async with connected(settings, Place(settings.control_database)) as control, control.transaction():
        await queries.add_tenant(
            control, code=code, cell=settings.cell, database=database_of(code), host=None, port=None
        )
        for service, at in standings.items():
            await queries.set_version(
                control,
                tenant=code,
                service=service,
                version=at.version,
                state="ready",
                detail=None,
                needs=at.needs,
            )
        await queries.activate(control, code=code)


async def _original(settings: Settings) -> Original:
    server = settings.admin_dsn()
    if server not in _ORIGINALS:
        code = f"o{secrets.token_hex(4)}"
        # In a directory of its own: nobody serves it, so nobody is in its database when it is copied.
        alone = settings.model_copy(update={"control_database": f"pointbank_original_{code}"})
        await create_tenant(alone, code)
        async with connected(settings, Place(database_of(code))) as db:
            standings = {service: await standing(db, service=service) for service in SERVICES}
        _ORIGINALS[server] = Original(code, standings)
    return _ORIGINALS[server]
