"""Settings that were tied to the tenant's database or roles, or to the server, and take away what the catalogue promises."""

from __future__ import annotations

from collections.abc import Iterator

from pointbank.verify.books import Books
from pointbank.verify.messaging.topology import SERVICES
from pointbank.verify.report import Check

HARMLESS = {
    "session_replication_role": {"origin"},
    "synchronous_commit": {"on", "remote_write", "remote_apply"},
    "zero_damaged_pages": {"off"},
    "ignore_checksum_failure": {"off"},
    "ignore_system_indexes": {"off"},
}
"""What triggers and foreign keys, an acknowledged commit, and a page as it was written depend on; another value is a violation."""


async def check_settings(books: Books, roles: str) -> None:
    """`roles` is the prefix of the tenant's roles. What another tenant's roles have is told with that tenant's books."""
    check = books.check(
        "catalogue:settings",
        4,
        "no setting of the database, of a role or of the server switches a guarantee off",
    )
    for row in await books.snapshot.rows("structure/catalogue.sql", "settings"):
        role = row["role"].removeprefix(roles)
        if role.startswith("pb_"):
            continue
        check.compared += 1
        where = f"role {role}" if role else "everybody"
        where += f" in {'this' if row['here'] else 'every'} database"
        for objection in _objections(role, row["name"], row["value"]):
            check.wrong(f"{where}: {objection}")
    for row in await books.snapshot.rows("structure/catalogue.sql", "settable", list(HARMLESS)):
        check.compared += 1
        role = row["role"].removeprefix(roles)
        if not role.startswith("pb_"):
            check.wrong(f"{role or 'everybody'} may set {row['name']}")
    await _of_server(books, check)


def _objections(role: str, name: str, value: str) -> Iterator[str]:
    if value not in HARMLESS.get(name, {value}):
        yield f"{name} is {value}"
    if name == "search_path" and role in SERVICES and value != role:
        yield f"search_path is {value}, and should be {role}"


async def _of_server(books: Books, check: Check) -> None:
    for row in await books.snapshot.rows("structure/catalogue.sql", "server_settings", list(HARMLESS)):
        check.compared += 1
        if row["setting"] not in HARMLESS[row["name"]]:
            check.wrong(f"the server: {row['name']} is {row['setting']}")
