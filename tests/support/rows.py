"""A row of any table, as small as the table lets it be: for tests of what happens to rows, whatever they say."""

from __future__ import annotations

from typing import Any, TypeAlias

import asyncpg

Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, t.typcategory AS category,
    (SELECT e.enumlabel FROM pg_enum AS e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder LIMIT 1) AS label,
    a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS wanted
FROM pg_attribute AS a
JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
"""
_SMALL = {
    "uuid": "00000000-0000-7000-8000-000000000001",
    "bytea": "\\x" + "00" * 32,
    "boolean": "false",
    "json": "{}",
    "jsonb": "{}",
    "interval": "1 second",
    "date": "2026-11-22",
    "timestamp with time zone": "2026-11-22 12:00:00+00",
}


async def put_row(db: Db, table: str, **values: Any) -> None:
    """Writes a row with these values, and something of its type wherever the table wants a value and none is given. `db` is the
    administrator's: no other table is asked whether it knows the row."""
    await db.execute("SET session_replication_role = replica")
    columns = [row for row in await db.fetch(_COLUMNS, table) if row["wanted"] or row["name"] in values]
    texts = [values[row["name"]] if row["name"] in values else _small(row) for row in columns]
    places = [f"${n}::text::{row['type']}" for n, row in enumerate(columns, 1)]
    names = ", ".join(row["name"] for row in columns)
    await db.execute(
        f"INSERT INTO {table} ({names}) VALUES ({', '.join(places)})",
        *[None if text is None else str(text) for text in texts],
    )


def _small(row: Any) -> str:
    if row["label"] is not None:
        return str(row["label"])
    if row["category"] == b"A":
        return "{}"
    return _SMALL.get(row["type"], "1")
