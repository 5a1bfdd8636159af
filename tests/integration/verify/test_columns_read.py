"""Which columns of the services no query of the oracle reads: those of unread.json, and no other.

PostgreSQL itself says it: of a function whose body is a query it keeps the columns that the query names. `RENEW_UNREAD=1` writes
the list anew; what is put on it belongs into docs/verify.md too, where it is worth anything to an auditor.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pointbank.verify
from pointbank.verify.sql import queries
from shared.db import Connection
from tests.integration.verify.conftest import spoilt
from tests.support.town import Town

UNREAD = Path(__file__).with_name("unread.json")
SCHEMAS = ("earn", "members", "notifier", "redeem", "tiers")
ROOT = Path(pointbank.verify.__file__).parent
OF_THE_DATABASE = {"structure", "directory.sql"}
"""Queries about catalogues, and of the directory: they read no books."""

COLUMNS = """
    SELECT n.nspname || '.' || c.relname AS relation, a.attname AS name, EXISTS (
        SELECT FROM pg_depend AS d JOIN pg_proc AS p ON p.oid = d.objid
        WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_class'::regclass AND p.proname LIKE 'asked$_%' ESCAPE '$'
            AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
    ) AS read
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY relation, a.attnum
"""


def every_query() -> Iterator[str]:
    """Each query of the books, of each service where it is asked of all."""
    for path in sorted(ROOT.rglob("*.sql")):
        file = path.relative_to(ROOT)
        if file.parts[0] not in OF_THE_DATABASE:
            for sql in queries(str(file)).values():
                yield from dict.fromkeys(sql.replace("{schema}", schema) for schema in SCHEMAS)


async def make_function(db: Connection, name: str, sql: str) -> None:
    """A function of this body, which is parsed, and so depends on what it names."""
    parameters = (await db.prepare(sql)).get_parameters()
    types = ", ".join(kind.name.removesuffix("[]") + "[]" * kind.name.endswith("[]") for kind in parameters)
    await db.execute(
        f"CREATE FUNCTION public.{name}({types}) RETURNS SETOF record LANGUAGE sql BEGIN ATOMIC {sql}; END"
    )


async def test_what_no_query_reads_is_listed(town: Town) -> None:
    async with spoilt(town) as db:
        for k, sql in enumerate(every_query()):
            await make_function(db, f"asked_{k}", sql)
        rows = await db.fetch(COLUMNS, list(SCHEMAS))
    unread: dict[str, list[str]] = defaultdict(list)
    for relation, name, read in rows:
        if not read:
            unread[relation].append(name)
    if os.environ.get("RENEW_UNREAD"):
        lines = [f"  {json.dumps(table)}: {json.dumps(names)}" for table, names in unread.items()]
        UNREAD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    assert len(rows) > 900
    assert dict(unread) == json.loads(UNREAD.read_text(encoding="utf-8"))
