"""What the database guarantees whatever the code does: constraints, append-only triggers, grants; held against a list.

The list is `catalogue.json`: table by table, what must be there. docs/verify.md says how it is renewed with a migration.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.database import AUDITOR, Snapshot
from pointbank.verify.report import Check
from pointbank.verify.topology import SERVICES

Catalogue = dict[str, dict[str, Any]]
"""schema.table -> constraints, unique indexes and triggers by name, columns that are never null, grants by service."""

CHANGING = frozenset({"UPDATE", "DELETE", "TRUNCATE"})
_NOISE = re.compile(r"[()\s]|::(?:text|bigint|integer|character varying)")


def expected() -> Catalogue:
    """The list."""
    text = resources.files(__package__).joinpath("catalogue.json").read_bytes()
    return msgspec.json.decode(text, type=Catalogue)


async def describe(snapshot: Snapshot, roles: str) -> Catalogue:
    """The same of a tenant's database as it is; `roles` is the prefix of its roles."""
    found: Catalogue = {}

    def table(row: Any) -> dict[str, Any]:
        empty: dict[str, Any] = {
            "constraints": {},
            "unique": {},
            "triggers": {},
            "not_null": "",
            "grants": {},
        }
        return found.setdefault(f"{row['schema']}.{row['table']}", empty)

    schemas = list(SERVICES)
    for query, part in (("constraints", "constraints"), ("indexes", "unique"), ("triggers", "triggers")):
        for row in await snapshot.rows("catalogue.sql", query, schemas):
            table(row)[part][row["name"]] = row["definition"]
    for row in await snapshot.rows("catalogue.sql", "not_null", schemas):
        table(row)["not_null"] = row["columns"]
    for row in await snapshot.rows("catalogue.sql", "grants", schemas):
        role = row["role"].removeprefix(roles)
        if not row["partition"] and role != AUDITOR:
            table(row)["grants"][role] = row["privileges"]
    return found


async def check_catalogue(books: Books) -> None:
    """Holds the tenant's database against the list."""
    roles = f"pb_{books.tenant}_"
    wanted, found = expected(), await describe(books.snapshot, roles)
    _constraints(
        books.check("catalogue:constraints", 2, "each constraint of the list is there, and says the same"),
        wanted,
        found,
    )
    append_only = books.check(
        "catalogue:append-only", 4, "what is append-only refuses change, every partition by itself"
    )
    _triggers(append_only, wanted, found)
    for row in await books.snapshot.rows("catalogue.sql", "append_only_gaps", list(SERVICES)):
        append_only.compared += 1
        if not (row["refusing_change"] and row["refusing_truncate"]):
            append_only.wrong(f"partition {row['schema']}.{row['table']} does not refuse all changes")
    grants = books.check(
        "catalogue:grants",
        7,
        "each service may do in its own schema what the list says, nobody else anything",
    )
    _table_grants(grants, wanted, found)
    await _grants(
        grants,
        books.snapshot,
        roles,
        append_only={name for name, one in wanted.items() if _is_append_only(one)},
    )
    await _roles(grants, books.snapshot, roles)


def _is_append_only(table: dict[str, Any]) -> bool:
    return "refuse_change" in table["triggers"]


def _same(definition: str | None, other: str) -> bool:
    return definition is not None and _NOISE.sub("", definition) == _NOISE.sub("", other)


def _constraints(check: Check, wanted: Catalogue, found: Catalogue) -> None:
    for name, table in wanted.items():
        there = found.get(name)
        if there is None:
            check.wrong(f"table {name} is not there")
            continue
        for part in ("constraints", "unique"):
            for constraint, definition in table[part].items():
                check.compared += 1
                # PostgreSQL names some by itself, with numbers that shift: what it says counts, under whatever name.
                if not any(_same(one, definition) for one in there[part].values()):
                    is_ = there[part].get(constraint, "not there")
                    check.wrong(f"{name}: {constraint} is {is_}, and should be {definition}")
        check.compared += 1
        if nullable := set(table["not_null"].split()) - set(there["not_null"].split()):
            check.wrong(f"{name}: {', '.join(sorted(nullable))} may be null")


def _triggers(check: Check, wanted: Catalogue, found: Catalogue) -> None:
    for name, table in wanted.items():
        there = found.get(name, {"triggers": {}})["triggers"]
        for trigger, definition in table["triggers"].items():
            check.compared += 1
            if not _same(there.get(trigger), definition):
                check.wrong(f"{name}: trigger {trigger} is {there.get(trigger) or 'not there'}")
        for trigger in there.keys() - table["triggers"].keys():
            check.wrong(f"{name}: trigger {trigger} is not on the list")


def _table_grants(check: Check, wanted: Catalogue, found: Catalogue) -> None:
    for name, table in wanted.items():
        there = found.get(name, {"grants": {}})["grants"]
        service = name.partition(".")[0]
        check.compared += 1
        if more := set(there.get(service, "").split()) - set(table["grants"].get(service, "").split()):
            check.wrong(f"{name}: {service} may {' '.join(sorted(more))}, which is not on the list")


async def _grants(check: Check, snapshot: Snapshot, roles: str, *, append_only: set[str]) -> None:
    """What holds whatever the list says: nobody else's, nothing by a partition, no change of what is append-only."""
    schemas = list(SERVICES)
    for row in await snapshot.rows("catalogue.sql", "grants", schemas):
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
    for row in await snapshot.rows("catalogue.sql", "schema_grants", schemas):
        check.compared += 1
        role = row["role"].removeprefix(roles)
        if row["privileges"] != "USAGE" or role not in {row["schema"], AUDITOR}:
            check.wrong(f"schema {row['schema']}: {role or 'everybody'} may {row['privileges']}")
    for row in await snapshot.rows("catalogue.sql", "function_grants", schemas):
        check.compared += 1
        if row["role"].removeprefix(roles) != row["schema"]:
            check.wrong(f"{row['schema']}.{row['name']}() runs as its owner for {row['role'] or 'everybody'}")
    for row in await snapshot.rows("catalogue.sql", "database_grants"):
        check.compared += 1
        if row["privileges"] != "CONNECT" or row["role"].removeprefix(roles) not in {*SERVICES, AUDITOR}:
            check.wrong(f"the database: {row['role'] or 'everybody'} may {row['privileges']}")


async def _roles(check: Check, snapshot: Snapshot, roles: str) -> None:
    rows = {
        row["role"].removeprefix(roles): row for row in await snapshot.rows("catalogue.sql", "roles", roles)
    }
    for name in (*SERVICES, AUDITOR):
        check.compared += 1
        row = rows.get(name)
        if row is None:
            check.wrong(f"there is no role {roles}{name}")
        elif row["strong"] or row["memberships"] or row["owns"]:
            check.wrong(f"role {roles}{name} is an administrator, an owner, or a member of another role")
