"""Rows for PostgreSQL's binary COPY, packed by a plan that is made once for a table.

asyncpg asks of each value of each row what it is, and takes 0.7 us for a time. Here all columns of a fixed width that are never
null are one `struct` (docs/decisions/0104). A row is bytes from the moment that it is decided: nothing of it is kept apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any

from shared.db import Connection
from shared.fairness import FAIRNESS

_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension
_END = b"\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TEXT_OID = 25
_MOST_WORDS = 4096

# Type -> code of `struct`, bytes, and the value as `struct` takes it.
_FIXED = {
    "uuid": ("16s", 16, "{}.bytes"),
    "uuid_text": ("16s", 16, "fromhex({}.replace('-', ''))"),
    "bigint": ("q", 8, "{}"),
    "integer": ("i", 4, "{}"),
    "smallint": ("h", 2, "{}"),
    "boolean": ("?", 1, "{}"),
    "timestamptz": ("q", 8, "({} - EPOCH) // MICROSECOND"),
}
# Type -> the parts of a value's bytes, its length first. `v` is the value in bytes.
_VARYING = {
    "text": "length(len(v := {}.encode())), v",
    "word": "words[{}]",
    "bytea": "length(len({0})), {0}",
    "json": "length(len({0})), {0}",
    "jsonb": "length(len({0}) + 1), VERSION, {0}",
    "text[]": "texts({})",
}


class Rows:
    """The columns of a table that are written, by name with their types; a `?` after one says that it may be null.

    The types are uuid, `uuid_text` (one that is given as text), bigint, integer, smallint, boolean, timestamptz (aware), text,
    `word` (a text, or the label of an enum, of which there are few), bytea, text[], and json and jsonb, which are given as
    bytes. That the tables agree is tested.
    """

    def __init__(self, table: str, **columns: str) -> None:
        self.table, self.columns = table, columns
        fixed = [name for name, type_ in columns.items() if type_ in _FIXED]
        self._order = fixed + [name for name in columns if name not in fixed]
        self.row: Callable[..., bytes] = _compiled(columns, fixed)
        """A row from its values, in the order of `columns`."""

    async def copy(self, db: Connection, rows: Sequence[bytes]) -> None:
        """Writes rows that `row` made."""
        if rows:
            # A view: asyncpg would take bytes for a path. (Its stubs know less than it takes.)
            source: Any = memoryview(b"".join((_HEAD, *rows, _END)))
            await db.copy_to_table(self.table, source=source, columns=self._order, format="binary")
            await FAIRNESS.give_way()


class _Words(dict[str, bytes]):
    """Texts that come again and again, with their lengths."""

    def __missing__(self, word: str) -> bytes:
        text = word.encode()
        made = _length(len(text)) + text
        if len(self) < _MOST_WORDS:
            self[word] = made
        return made


_length = Struct(">i").pack
_array = Struct(">iiiiii").pack
_NO_TEXTS = Struct(">iiii").pack(12, 0, 0, _TEXT_OID)


def _texts(texts: Sequence[str]) -> bytes:
    if not texts:
        return _NO_TEXTS
    values = [text.encode() for text in texts]
    size = 20 + sum([4 + len(value) for value in values])
    one_dimension = _array(size, 1, 0, _TEXT_OID, len(values), 1)
    return one_dimension + b"".join([_length(len(value)) + value for value in values])


def _compiled(columns: dict[str, str], fixed: Sequence[str]) -> Callable[..., bytes]:
    """One expression that packs the fixed columns together and joins the others' bytes behind them."""
    assert all(name.isidentifier() for name in columns)
    pack = Struct(">h" + "".join("i" + _FIXED[columns[name]][0] for name in fixed)).pack
    values = [f"{_FIXED[columns[name]][1]}, {_FIXED[columns[name]][2].format(name)}" for name in fixed]
    parts = [f"pack({', '.join([str(len(columns)), *values])})"]
    known: dict[str, object] = {
        "pack": pack,
        "join": b"".join,
        "length": _length,
        "words": _Words(),
        "texts": _texts,
        "EPOCH": _EPOCH,
        "MICROSECOND": _MICROSECOND,
        "VERSION": b"\x01",
        "NULL": _length(-1),
        "fromhex": bytes.fromhex,
    }
    for name, type_ in columns.items():
        if name in fixed:
            continue
        plain = type_.removesuffix("?")
        if plain in _FIXED:
            code, width, value = _FIXED[plain]
            known[f"pack_{plain}"] = Struct(f">i{code}").pack
            part = f"pack_{plain}({width}, {value.format(name)})"
        else:
            part = _VARYING[plain].format(name)
        if type_ != plain:
            several = f"join(({part}))" if ", " in part and plain not in _FIXED else part
            part = f"NULL if {name} is None else {several}"
        parts.append(part)
    made: Callable[..., bytes] = eval(  # noqa: S307  # made of our own column names alone  # nosec B307
        f"lambda {', '.join(columns)}: join(({', '.join(parts)},))", known
    )
    return made
