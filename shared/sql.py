"""Named queries from `.sql` files. aiosql reads the files; asyncpg runs what it found.

A name ending in nothing gives all rows, `^` one row or None, `$` one value, `!` runs without a result, `#` is a script.
Parameters are `:name`, given by keyword. aiosql's own asyncpg adapter inspects the connection at each call, which costs more
than the rest of the call (docs/decisions/0002): so only its parser is used.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import aiosql
from aiosql.adapters.asyncpg import AsyncPGAdapter
from aiosql.types import SQLOperationType

from shared.fairness import FAIRNESS

Query = Callable[..., Awaitable[Any]]

_METHODS = {
    SQLOperationType.SELECT: "fetch",
    SQLOperationType.SELECT_ONE: "fetchrow",
    SQLOperationType.SELECT_VALUE: "fetchval",
    SQLOperationType.INSERT_UPDATE_DELETE: "execute",
    SQLOperationType.SCRIPT: "execute",
}


class Queries:
    """The queries of one file, as coroutines `queries.name(connection, **parameters)`. Read at the first use."""

    def __init__(self, package: str, file: str) -> None:
        self._package, self._file = package, file
        self._texts: dict[str, str] | None = None

    def texts(self) -> dict[str, str]:
        """Query name -> SQL with numbered parameters, as PostgreSQL gets it."""
        if self._texts is None:
            self._read()
        assert self._texts is not None
        return self._texts

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts())

    def __getattr__(self, name: str) -> Query:
        if name.startswith("_") or self._texts is not None:
            raise AttributeError(f"{self._package}/{self._file} has no query {name!r}")
        self._read()
        return getattr(self, name)  # type: ignore[no-any-return]

    def _read(self) -> None:
        text = resources.files(self._package).joinpath(self._file).read_text(encoding="utf-8")
        adapter = AsyncPGAdapter()  # type: ignore[no-untyped-call]
        # aiosql is generic in the adapter: given a callable it takes what it returns.
        found = aiosql.from_str(text, lambda: adapter, mandatory_parameters=False)
        texts = {}
        for name in found.available_queries:
            function = getattr(found, name)
            if not hasattr(function, "operation") or name.endswith("_cursor"):
                continue
            sql = function.sql.rstrip().rstrip(";")
            texts[name] = sql
            names = tuple(adapter.var_sorted[name])
            setattr(self, name, _runner(_METHODS[function.operation], name, sql, names))
        self._texts = texts


def _runner(method: str, name: str, sql: str, names: tuple[str, ...]) -> Query:
    async def run(connection: Any, **parameters: Any) -> Any:
        if len(parameters) != len(names):
            raise TypeError(f"query {name} takes {names}, got {tuple(parameters)}")
        found = await getattr(connection, method)(sql, *[parameters[key] for key in names])
        if FAIRNESS.several:
            await FAIRNESS.give_way()
        return found

    run.sql, run.of_names = sql, (method, name, names)  # type: ignore[attr-defined]
    return run


def text_of(query: Query) -> str:
    """A query's SQL, as PostgreSQL gets it."""
    text: str = query.sql  # type: ignore[attr-defined]
    return text


def names_of(query: Query) -> tuple[str, ...]:
    """The parameters that a query takes."""
    names: tuple[str, ...] = query.of_names[2]  # type: ignore[attr-defined]
    return names


def elements(query: Query, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """What a query of one row takes of columns. ValueError where one of them has not one element."""
    taken = {}
    for name in names_of(query):
        [taken[name]] = columns[name]
    return taken


_PARAMETER = re.compile(r"\$(\d+)(?:::(\w+)\[\])?")


def of_one_row(query: Query, *, without: Collection[str] = ()) -> Query:
    """The query where its arrays have one element each: it takes the elements, and nothing for those of `without`, which are empty.
    asyncpg spends more on the brackets than on what is in them (docs/decisions/0235)."""
    method, name, arrays = query.of_names  # type: ignore[attr-defined]
    taken = tuple(one for one in arrays if one not in without)

    def element(found: re.Match[str]) -> str:
        number, kind = found.groups()
        of = arrays[int(number) - 1]
        if of in without:
            return f"'{{}}'::{kind}[]"
        taken_as = f"${taken.index(of) + 1}"
        return f"ARRAY[{taken_as}::{kind}]" if kind else taken_as

    return _runner(method, f"{name} of one row", _PARAMETER.sub(element, text_of(query)), taken)


def load(package: str, file: str = "queries.sql") -> Queries:
    """The queries of `file` in `package`; nothing is read before the first use."""
    return Queries(package, file)
