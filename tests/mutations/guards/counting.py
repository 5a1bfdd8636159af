"""Every lock of a row and every uniqueness that the SQL has: which of them a guard of the list takes out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.mutations.mutants import Patch
from tests.support.processes import ROOT

LOCKS = re.compile(
    r"\bFOR (?:NO KEY UPDATE|UPDATE|KEY SHARE|SHARE)\b|\bpg_(?:try_)?advisory|\bLOCK TABLE\b"
    r"|\bDO UPDATE SET (?:\w+ = \w+\.\w+ WHERE false|key = EXCLUDED\.key)\b"
)
ADVISORY = re.compile(r"\bpg_(?:try_)?advisory_\w+\(")
UNIQUE = re.compile(r"\bUNIQUE\b|\bEXCLUDE\b")
KEY = re.compile(r"\bPRIMARY KEY\b")
TABLE = re.compile(r"^\s*(?:CREATE|ALTER) TABLE (?:IF NOT EXISTS )?([\w.]+)")
UNAIMED = re.compile(r"INSERT INTO (\w+)(?:(?!INSERT INTO|-- name:).)*?ON CONFLICT( DO NOTHING)?", re.DOTALL)


class Place(NamedTuple):
    """A line of a file; `name` is that of its query, or else the line itself."""

    file: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def locks() -> Iterator[Place]:
    """Every place that locks rows or tables, or takes an advisory lock, also in statements that stand in the code."""
    for file in _files("*.sql"):
        yield from _matching(file, LOCKS)
    for file in _files("*.py"):
        if "advisory" in file.read_text(encoding="utf-8"):
            yield from _matching(file, ADVISORY)


def keys() -> Iterator[Place]:
    """Every uniqueness, and every primary key of a table into which something is written that names no key and does nothing where
    one is there: without the key it would be there twice, and no statement would fail."""
    for file in _files("*.sql"):
        if "migrations" not in file.parts and file.name != "control.sql":
            continue
        yield from _matching(file, UNIQUE)
        unaimed = _written_unaimed(file.parent.parent)
        yield from (place for place, table, code in _lines(file) if table in unaimed and KEY.search(code))


def taken_out(patches: Iterable[Patch]) -> set[tuple[str, int]]:
    """The lines, as (file, number), that these patches take out or change."""
    found = set()
    for patch in patches:
        text = (ROOT / patch.file).read_text(encoding="utf-8")
        first = text[: text.index(patch.old)].count("\n") + 1
        old, new = patch.old.split("\n"), patch.new.split("\n")
        for what, start, end, *_ in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if what in ("replace", "delete"):
                found |= {(patch.file, first + n) for n in range(start, end)}
    return found


def sql_files() -> list[Path]:
    return _files("*.sql")


def _files(pattern: str) -> list[Path]:
    """The SQL that is run: schema.sql is for reading."""
    return sorted(
        file
        for part in ("services", "shared", "pointbank")
        for file in (ROOT / part).rglob(pattern)
        if file.name != "schema.sql"
    )


def _matching(file: Path, what: re.Pattern[str]) -> Iterator[Place]:
    return (place for place, _, code in _lines(file) if what.search(code))


def _lines(file: Path) -> Iterator[tuple[Place, str, str]]:
    """Every line of code, with the table that is made or changed there, and without its comment."""
    table, query = "", ""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if named := re.match(r"-- name: (\w+)", line):
            query = named.group(1)
        if made := TABLE.match(line):
            table = made.group(1)
        if code := line.partition("--")[0].strip():
            name = query or f"{table} {line.strip()}"
            yield Place(str(file.relative_to(ROOT)), number, name), table, code


@cache
def _written_unaimed(folder: Path) -> set[str]:
    return {
        found.group(1)
        for file in folder.rglob("*.sql")
        if file.name != "schema.sql"
        for found in UNAIMED.finditer(file.read_text(encoding="utf-8"))
        if found.group(2)
    }
