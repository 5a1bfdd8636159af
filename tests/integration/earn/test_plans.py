"""The hot queries find their rows by an index, whatever the tables grow to."""

from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest

from services.earn.store.sql import queries
from shared.config import Settings
from shared.tenants import Tenant
from tests.support.tenants import connect_as

Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

HOT = [
    "known_merchants",
    "known_terminals",
    "members_of",
    "standings_of",
    "pos_contents",
    "bill_contents",
    "first_answers",
    "make_ready",
    "lock_waiting",
    "waiting_bills",
    "bill_by_id",
    "bill_by_ref",
    "decisions_of",
    "bills_of_wallet",
    "known_rejections",
]


@pytest.fixture
async def db(settings: Settings, tenant: Tenant) -> AsyncIterator[Db]:
    found = await connect_as(settings, tenant, "earn")
    await found.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
    yield found
    await found.close()


@pytest.mark.parametrize("name", HOT)
async def test_a_hot_query_scans_no_table(db: Db, name: str) -> None:
    text = queries.texts()[name]
    nulls = ", ".join(["NULL"] * len((await db.prepare(text)).get_parameters()))
    await db.execute(f"PREPARE hot AS {text}")
    plan = "\n".join(row[0] for row in await db.fetch(f"EXPLAIN EXECUTE hot({nulls})"))
    # NULL bounds prune every partition: that no partition need be looked at is shown instead.
    assert "Index" in plan or "Subplans Removed" in plan
    assert "Seq Scan" not in plan
