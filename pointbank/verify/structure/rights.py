"""Who may do what in a tenant's database: each service what the list says, the auditor read, nobody else anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.database import AUDITOR, Snapshot
from pointbank.verify.messaging.topology import SERVICES
from pointbank.verify.report import Check

CHANGING = frozenset({"UPDATE", "DELETE", "TRUNCATE"})
Grants = Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]]
"""schema.table -> privileges by service: those of the list, and those that are there."""
Executing = Mapping[str, tuple[list[str], list[str]]]
"""Function -> who should be able to execute it, and who may."""


async def check_rights(
    books: Books,
    roles: str,
    *,
    tables: Grants,
    append_only: set[str],
    functions: Executing,
    grants: Sequence[Any],
    suspended: bool,
) -> None:
    """No right is missing, none is too many. `roles` is the prefix of the tenant's roles, `grants` is what there is of tables,
    partitions and columns."""
    check = books.check(
        "catalogue:grants",
        7,
        "each service may do in its own schema what the list says, nobody else anything",
    )
    _of_tables(check, tables)
    _auditors(check, grants, roles, tables.keys())
    _of_functions(check, functions)
    await _of_schemas(check, books.snapshot, roles)
    await _of_database(check, books.snapshot, roles, suspended=suspended)
    _foreign(check, grants, roles, append_only)
    await _functions_of_owners(check, books.snapshot, roles)
    await _roles(check, books.snapshot, roles)


def _of_tables(check: Check, tables: Grants) -> None:
    for name, (wanted, there) in tables.items():
        service = name.partition(".")[0]
        should, may = set(wanted.get(service, "").split()), set(there.get(service, "").split())
        check.compared += 1
        if more := may - should:
            check.wrong(f"{name}: {service} may {' '.join(sorted(more))}, which is not on the list")
        # Who may do it to the whole table may do it to a column.
        if less := {one for one in should - may if one.partition("(")[0] not in may}:
            check.wrong(f"{name}: {service} may not {' '.join(sorted(less))}")


def _auditors(check: Check, grants: Sequence[Any], roles: str, tables: Iterable[str]) -> None:
    readable = {
        f"{row['schema']}.{row['relation']}"
        for row in grants
        if row["role"].removeprefix(roles) == AUDITOR and "SELECT" in row["privileges"].split()
    }
    for name in tables:
        check.compared += 1
        if name not in readable:
            check.wrong(f"{name}: {AUDITOR} may not SELECT")


def _of_functions(check: Check, functions: Executing) -> None:
    for name, (should, may) in sorted(functions.items()):
        check.compared += 1
        for role in should:
            if role not in may and "everybody" not in may:
                check.wrong(f"{name}: {role} may not EXECUTE")


async def _of_schemas(check: Check, snapshot: Snapshot, roles: str) -> None:
    missing = {(schema, role) for schema in SERVICES for role in (schema, AUDITOR)}
    for row in await snapshot.rows("structure/catalogue.sql", "schema_grants", list(SERVICES)):
        check.compared += 1
        schema, role = row["schema"], row["role"].removeprefix(roles)
        if row["privileges"] != "USAGE" or role not in {schema, AUDITOR}:
            check.wrong(f"schema {schema}: {role or 'everybody'} may {row['privileges']}")
        if "USAGE" in row["privileges"].split():
            missing.discard((schema, role))
    for schema, role in sorted(missing):
        check.wrong(f"schema {schema}: {role} may not USAGE")


async def _of_database(check: Check, snapshot: Snapshot, roles: str, *, suspended: bool) -> None:
    missing = {AUDITOR} if suspended else {*SERVICES, AUDITOR}
    for row in await snapshot.rows("structure/catalogue.sql", "database_grants"):
        check.compared += 1
        role = row["role"].removeprefix(roles)
        if row["privileges"] != "CONNECT" or role not in {*SERVICES, AUDITOR}:
            check.wrong(f"the database: {role or 'everybody'} may {row['privileges']}")
        if "CONNECT" in row["privileges"].split():
            missing.discard(role)
    for role in sorted(missing):
        check.wrong(f"the database: {role} may not CONNECT")


def _foreign(check: Check, grants: Sequence[Any], roles: str, append_only: set[str]) -> None:
    """What holds whatever the list says: nobody else's, nothing by a partition, no change of what is append-only."""
    for row in grants:
        check.compared += 1
        role = row["role"].removeprefix(roles)
        what = f"{row['schema']}.{row['relation']}: {role or 'everybody'} may {row['privileges']}"
        privileges = {one.partition("(")[0] for one in row["privileges"].split()}
        if role == AUDITOR:
            if privileges != {"SELECT"}:
                check.wrong(what)
        elif role != row["schema"] or row["partition"]:
            check.wrong(what)
        elif privileges & CHANGING and f"{row['schema']}.{row['table']}" in append_only:
            check.wrong(f"{what}, and it is append-only")


async def _functions_of_owners(check: Check, snapshot: Snapshot, roles: str) -> None:
    for row in await snapshot.rows("structure/catalogue.sql", "function_grants", list(SERVICES)):
        check.compared += 1
        if row["role"].removeprefix(roles) != row["schema"]:
            check.wrong(f"{row['schema']}.{row['name']}() runs as its owner for {row['role'] or 'everybody'}")


async def _roles(check: Check, snapshot: Snapshot, roles: str) -> None:
    rows = {
        row["role"].removeprefix(roles): row
        for row in await snapshot.rows("structure/catalogue.sql", "roles", roles)
    }
    for name in (*SERVICES, AUDITOR):
        check.compared += 1
        row = rows.get(name)
        if row is None:
            check.wrong(f"there is no role {roles}{name}")
        elif row["strong"] or row["memberships"] or row["owns"]:
            check.wrong(f"role {roles}{name} is an administrator, an owner, or a member of another role")
