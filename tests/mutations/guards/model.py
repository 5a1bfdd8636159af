"""What a guard of the list is, and how it is taken out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.mutations.mutants import Patch
from tests.support.processes import ROOT

LOCK = re.compile(
    r"\s*\bFOR (?:NO KEY UPDATE|UPDATE|KEY SHARE|SHARE)\b(?: OF \w+)?(?: SKIP LOCKED)?"
    r"|\bDO UPDATE SET (?:\w+ = \w+\.\w+ WHERE false|key = EXCLUDED\.key)\b"
)
"""How a query locks what it gives: by a clause, or by writing nothing to a row that it found."""


@dataclass(frozen=True)
class Guard:
    """`without`: what was done to the code, in words. `noticed_by`: ids of tests, of which one at least must fail."""

    kind: str
    without: str
    patches: tuple[Patch, ...]
    noticed_by: tuple[str, ...]


Guards = Mapping[str, Guard]


def guard(kind: str, without: str, file: str, old: str, new: str, *noticed_by: str) -> Guard:
    """A guard that one patch takes out."""
    return Guard(kind, without, (Patch(file, old, new),), noticed_by)


def unlocked(file: str, query: str, nth: int = 1) -> Patch:
    """The query without its lock, or without the nth of several; the rest of it stays as it stands."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.search(rf"^-- name: {query}[\^$!]?\n.*?(?=^-- name: |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{file} has no query {query}"
    old = found.group()
    clause = list(LOCK.finditer(old))[nth - 1]
    instead = "DO NOTHING" if clause.group().startswith("DO") else ""
    return Patch(file, old, old[: clause.start()] + instead + old[clause.end() :])


def lock(without: str, file: str, query: str, *noticed_by: str, nth: int = 1) -> Guard:
    """A query's lock."""
    return Guard("lock", without, (unlocked(file, query, nth),), noticed_by)


def without_all(without: str, noticed_by: str, *patches: Patch) -> Guard:
    """A lock, and the other guards that would hide its absence: all are taken out."""
    return Guard("lock", without, patches, (noticed_by,))


def unique(without: str, file: str, old: str, *noticed_by: str, new: str | None = None) -> Guard:
    """A uniqueness that is an index from now on, or nothing at all."""
    if new is None:
        new = old.replace("CREATE UNIQUE INDEX", "CREATE INDEX")
        new = re.sub(r"(CONSTRAINT \w+) UNIQUE \([^)]*\)", r"\1 CHECK (true)", new)
        new = re.sub(r"^(\s*)UNIQUE \([^)]*\)", r"\1CHECK (true)", new, flags=re.MULTILINE)
        new = re.sub(r"(?<=\w) UNIQUE\b", "", new) if new == old else new
    return guard("uniqueness", without, file, old, new, *noticed_by)


def no_key(without: str, file: str, table: str, *noticed_by: str) -> Guard:
    """A table that this file makes, without its primary key."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.search(rf"^CREATE TABLE {table} \(\n.*?^\)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{file} makes no table {table}"
    old = found.group()
    new = re.sub(
        r"^(\s*)(?:CONSTRAINT \w+ )?PRIMARY KEY \([^)]*\)", r"\1CHECK (true)", old, flags=re.MULTILINE
    )
    new = new.replace(" PRIMARY KEY", " NOT NULL") if new == old else new
    return guard("uniqueness", without, file, old, new, *noticed_by)
