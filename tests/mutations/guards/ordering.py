"""Every clause that locks rows in an order of no one's choosing: two that lock the same rows would wait for each other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.mutations.guards.counting import LOCKS, sql_files
from tests.support.processes import ROOT

STATEMENT = re.compile(r"^-- name: (\w+)|;[ \t]*$", re.MULTILINE)
COMMENT = re.compile(r"--(?! name: ).*")

ONE_ROW = {
    "services/earn/store/settlements.sql: lock_variance": "the variance of this id",
    "services/redeem/store/closing.sql: lock_closing": "the closing of this day",
    "services/redeem/store/reconciliation.sql: lock_difference": "the difference of this id",
}
"""Those that lock one row, by its key: there is nothing to put in an order."""


def unordered() -> set[str]:
    """The queries, by file, with a clause that locks what a SELECT without ORDER BY gives."""
    return {place for place, rows in _locking() if "ORDER BY" not in rows}


def ordered() -> set[str]:
    """Those whose every clause has one."""
    return {place for place, _ in _locking()} - unordered()


def _locking() -> Iterator[tuple[str, str]]:
    """Where a clause stands, and the SELECT that it is of: back to the bracket that holds it."""
    for file in sql_files():
        text = COMMENT.sub("", file.read_text(encoding="utf-8"))
        for name, statement in _statements(text):
            for clause in LOCKS.finditer(statement):
                if clause.group().startswith(("FOR", "DO")):  # else a table's, or a number's
                    yield f"{file.relative_to(ROOT)}: {name}", _select(statement, clause.start())


def _statements(text: str) -> Iterator[tuple[str, str]]:
    name, start = "", 0
    for found in STATEMENT.finditer(text):
        yield name or text[start : found.start()].strip(), text[start : found.start()]
        name, start = found.group(1) or name, found.end()
    yield name or text[start:].strip(), text[start:]


def _select(statement: str, end: int) -> str:
    depth = 0
    for at in range(end - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(statement[at], 0)
        if depth < 0:
            return statement[at:end]
    return statement[:end]
