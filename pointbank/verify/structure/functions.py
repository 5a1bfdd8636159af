"""The functions of the services' schemas, held against a list: a trigger refuses only what its function refuses.

The list is `functions.json`: by name and arguments, a SHA-256 of the body as it was written, how it runs, who may execute it.
"""

from __future__ import annotations

from importlib import resources

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.topology import SERVICES


class Function(msgspec.Struct, frozen=True):
    """`body` is its hash; `runs` is language, volatility, whose rights, settings and result; `may` are services, or "everybody"."""

    body: str
    runs: str
    may: list[str]


Functions = dict[str, Function]


def expected() -> Functions:
    """The list."""
    text = resources.files(__package__).joinpath("functions.json").read_bytes()
    return msgspec.json.decode(text, type=Functions)


async def describe(snapshot: Snapshot, roles: str) -> Functions:
    """The same of a tenant's database as it is; `roles` is the prefix of its roles."""
    return {
        row["name"]: Function(
            row["body"], row["runs"], [role.removeprefix(roles) or "everybody" for role in row["roles"]]
        )
        for row in await snapshot.rows("structure/functions.sql", "functions", list(SERVICES))
    }


async def check_functions(books: Books, roles: str) -> dict[str, tuple[list[str], list[str]]]:
    """Holds bodies and settings against the list; gives, of each that is on it and there, who should be able to execute it,
    and who may."""
    check = books.check(
        "catalogue:functions", 4, "each function of the list is there, does what it did, and runs as it did"
    )
    wanted, found = expected(), await describe(books.snapshot, roles)
    for name, should in wanted.items():
        check.compared += 1
        is_ = found.get(name)
        if is_ is None:
            check.wrong(f"{name}: is not there")
        elif is_.body != should.body:
            check.wrong(f"{name}: its body is not the one of the list")
        elif is_.runs != should.runs:
            check.wrong(f"{name}: is {is_.runs}, and should be {should.runs}")
    for name in sorted(found.keys() - wanted.keys()):
        check.wrong(f"{name}: is not on the list")
    return {name: (wanted[name].may, found[name].may) for name in wanted.keys() & found.keys()}
