"""Rows that we pack ourselves arrive as those that the driver encodes, and their columns are the tables'."""

import asyncio
import importlib
import pkgutil
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

import services
import shared.messaging
from shared.config import Settings
from shared.ids import uuid7
from shared.rows import Rows
from shared.tenants import Tenant
from tests.support.tenants import new_tenant

TYPES = {
    "uuid": "uuid",
    "uuid_text": "uuid",
    "bigint": "bigint",
    "integer": "integer",
    "smallint": "smallint",
    "boolean": "boolean",
    "timestamptz": "timestamptz",
    "text": "text",
    "word": "text",
    "bytea": "bytea",
    "json": "json",
    "jsonb": "jsonb",
    "text[]": "text[]",
}
"""As the plan names them -> as PostgreSQL does."""
VALUES: dict[str, list[Any]] = {
    "uuid": [UUID(int=0), UUID(int=2**128 - 1), uuid7(), uuid4()],
    "uuid_text": [str(UUID(int=0)), str(UUID(int=2**128 - 1)), str(uuid7())],
    "bigint": [0, 1, -1, 2**63 - 1, -(2**63)],
    "integer": [0, -1, 2**31 - 1, -(2**31)],
    "smallint": [0, -1, 2**15 - 1, -(2**15)],
    "boolean": [True, False],
    "timestamptz": [
        datetime(1, 1, 1, 0, 0, 0, 1, UTC),
        datetime.max.replace(microsecond=999_998, tzinfo=UTC),
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, UTC),
        datetime(2026, 11, 22, 11, 31, 4, 123_456, timezone(timedelta(hours=3))),
    ],
    "text": ["", "a", "\t\n\\N", "نقاط", "😀", "x" * 70_000],
    "word": ["", "earn", "نقاط"],
    "bytea": [b"", b"\0\xff", b"x" * 70_000],
    "json": [b"null", b'{"a": [1, "\xc3\xa9"]}'],
    "jsonb": [b"null", b'{"a": [1, "\xc3\xa9"]}'],
    "text[]": [[], [""], ["a", "نقاط"], ("b", "c", "d")],
}


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    return asyncio.run(new_tenant(settings))


async def test_rows_arrive_as_the_driver_encodes_them(settings: Settings, tenant: Tenant) -> None:
    columns = {
        f"{'some' if may else 'any'}_{k}": type_ + may for k, type_ in enumerate(TYPES) for may in ("", "?")
    }
    rows = Rows("own", **columns)
    rng = random.Random(1)
    given = [
        [
            None if may == "?" and rng.random() < 0.3 else rng.choice(VALUES[type_])
            for type_, may in product(TYPES, ("", "?"))
        ]
        for _ in range(400)
    ]
    db = await asyncpg.connect(settings.admin_dsn().rsplit("/", 1)[0] + f"/{tenant.database}")
    try:
        told = [f"{name} {TYPES[type_.removesuffix('?')]}" for name, type_ in columns.items()]
        await db.execute(f"CREATE TEMP TABLE own ({', '.join(told)}); CREATE TEMP TABLE theirs (LIKE own)")
        await rows.copy(db, [rows.row(*row) for row in given])
        texts = [
            [
                v.decode() if type_.startswith("json") and v is not None else v
                for v, type_ in zip(row, columns.values(), strict=True)
            ]
            for row in given
        ]
        await db.copy_records_to_table("theirs", records=texts, columns=list(columns))
        assert await db.fetchval("SELECT count(*) FROM own") == len(given)
        assert await db.fetch("SELECT own::text FROM own EXCEPT ALL SELECT theirs::text FROM theirs") == []
    finally:
        await db.close()


async def test_the_first_and_the_last_moment_are_moments(settings: Settings, tenant: Tenant) -> None:
    """The driver takes them for minus and plus infinity."""
    ends = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    rows = Rows("moments", at="timestamptz")
    db = await asyncpg.connect(settings.admin_dsn().rsplit("/", 1)[0] + f"/{tenant.database}")
    try:
        await db.execute("CREATE TEMP TABLE moments (at timestamptz)")
        await rows.copy(db, [rows.row(end) for end in ends])
        assert [tuple(row) for row in await db.fetch("SELECT at, isfinite(at) FROM moments ORDER BY at")] == [
            (end, True) for end in ends
        ]
    finally:
        await db.close()


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("bigint", 2**63),
        ("smallint", 2**15),
        ("uuid", None),
        ("text", None),
        ("timestamptz", datetime(2026, 1, 1)),  # noqa: DTZ001  # whose time?
    ],
)
def test_what_a_column_cannot_hold_is_refused_when_it_is_packed(type_: str, value: Any) -> None:
    with pytest.raises(Exception, match=r"format requires|too large|None|offset-naive"):
        Rows("t", a=type_).row(value)


def written() -> Iterator[tuple[str, str, Rows]]:
    """(schema, where, plan) of every plan in the services; messaging's tables are in each of them."""
    for package in (shared.messaging, services):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" in found.name:
                continue
            schema = found.name.split(".")[1] if package is services else "earn"
            for name, value in vars(importlib.import_module(found.name)).items():
                if isinstance(value, Rows):
                    yield schema, f"{found.name}.{name}", value


async def test_every_plan_is_what_its_table_has(settings: Settings, tenant: Tenant) -> None:
    db = await asyncpg.connect(settings.admin_dsn().rsplit("/", 1)[0] + f"/{tenant.database}")
    plans = list(written())
    assert {plan.table for _, _, plan in plans} >= {"outbox", "audit", "bills", "decisions", "ledger", "lots"}
    try:
        for schema, where, plan in plans:
            found = await db.fetch(
                "SELECT a.attname, format_type(a.atttypid, NULL) AS type, t.typtype = 'e' AS is_enum, a.attnotnull,"
                " a.atthasdef OR a.attidentity <> '' AS has_default FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid"
                " WHERE a.attrelid = ($1 || '.' || $2)::regclass AND a.attnum > 0 AND NOT a.attisdropped",
                schema,
                plan.table,
            )
            table = {row["attname"]: row for row in found}
            for name, type_ in plan.columns.items():
                plain = type_.removesuffix("?")
                has = table[name]["type"].replace("timestamp with time zone", "timestamptz")
                fits = {TYPES[plain], "json"} if plain == "text" else {TYPES[plain]}
                assert has in fits or (plain == "word" and table[name]["is_enum"]), (where, name, type_, has)
                assert table[name]["attnotnull"] <= (not type_.endswith("?")), (where, name, type_)
            missing = {n for n, row in table.items() if row["attnotnull"] and not row["has_default"]} - set(
                plan.columns
            )
            assert not missing, (where, missing)
    finally:
        await db.close()
