"""What the database guarantees whatever the code does: constraints, append-only triggers, functions, grants; held against a list.

The lists are `catalogue.json`, table by table, and `functions.json`. docs/verify.md says how they are renewed with a migration.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.database import AUDITOR, Snapshot
from pointbank.verify.messaging.topology import SERVICES
from pointbank.verify.report import Check
from pointbank.verify.structure.definitions import same
from pointbank.verify.structure.functions import check_functions
from pointbank.verify.structure.rights import check_rights
from pointbank.verify.structure.settings import check_settings

Catalogue = dict[str, dict[str, Any]]
"""schema.table -> constraints, unique indexes and triggers by name, columns that are never null, grants by service."""


def expected() -> Catalogue:
    """The list."""
    text = resources.files(__package__).joinpath("catalogue.json").read_bytes()
    return msgspec.json.decode(text, type=Catalogue)


async def describe(snapshot: Snapshot, roles: str) -> tuple[Catalogue, list[Any]]:
    """The same of a tenant's database as it is, and who may do what with each table, partition and column there; `roles` is the
    prefix of its roles."""
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
        for row in await snapshot.rows("structure/catalogue.sql", query, schemas):
            table(row)[part][row["name"]] = row["definition"]
    for row in await snapshot.rows("structure/catalogue.sql", "not_null", schemas):
        table(row)["not_null"] = row["columns"]
    grants = await snapshot.rows("structure/catalogue.sql", "grants", schemas)
    for row in grants:
        role = row["role"].removeprefix(roles)
        if not row["partition"] and role != AUDITOR:
            table(row)["grants"][role] = row["privileges"]
    return found, grants


async def check_catalogue(books: Books, *, suspended: bool = False) -> None:
    """Holds the tenant's database against the list. Who is suspended is let in to no service: no right is missing there."""
    roles = f"pb_{books.tenant}_"
    wanted = expected()
    found, grants = await describe(books.snapshot, roles)
    _constraints(
        books.check("catalogue:constraints", 2, "each constraint of the list is there, and says the same"),
        wanted,
        found,
    )
    append_only = books.check(
        "catalogue:append-only", 4, "what is append-only refuses change, every partition by itself"
    )
    _triggers(append_only, wanted, found)
    for row in await books.snapshot.rows("structure/catalogue.sql", "append_only_gaps", list(SERVICES)):
        append_only.compared += 1
        if not (row["refusing_change"] and row["refusing_truncate"]):
            append_only.wrong(f"partition {row['schema']}.{row['table']} does not refuse all changes")
    functions = await check_functions(books, roles)
    await check_rights(
        books,
        roles,
        tables={name: (wanted[name]["grants"], found[name]["grants"]) for name in wanted if name in found},
        append_only={name for name, table in wanted.items() if "refuse_change" in table["triggers"]},
        functions=functions,
        grants=grants,
        suspended=suspended,
    )
    await check_settings(books, roles)


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
                if not any(same(one, definition) for one in there[part].values()):
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
            if not same(there.get(trigger), definition):
                check.wrong(f"{name}: trigger {trigger} is {there.get(trigger) or 'not there'}")
        for trigger in there.keys() - table["triggers"].keys():
            check.wrong(f"{name}: trigger {trigger} is not on the list")
