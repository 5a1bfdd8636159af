"""The sender's statements stay quick however much was ever sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.notifier.store import queries
from shared.config import Settings
from shared.db import connect
from shared.ids import uuid7
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from shared.tenants.provision import dsn_for

LONG_AGO = """
INSERT INTO notifier.deliveries (message_id, member_id, state, due_at, locale, delivered_at)
SELECT gen_random_uuid(), gen_random_uuid(), 'delivered', NULL, 'en', now() FROM generate_series(1, 100000);
INSERT INTO notifier.dispatches (dispatch_id, attempts, settled_at)
SELECT gen_random_uuid(), 1, now() FROM generate_series(1, 20000);
ANALYZE notifier.deliveries, notifier.dispatches
"""


@pytest.fixture
async def admin(
    settings: Settings, tenant: Tenant, notifier: TenantRuntime
) -> AsyncIterator[asyncpg.Connection[Any]]:
    db = await connect(dsn_for(settings, tenant.database))
    await db.execute(LONG_AGO)
    await db.execute("SET search_path = notifier")
    try:
        yield db
    finally:
        await db.close()


async def plan(db: asyncpg.Connection[Any], query: str, *arguments: Any) -> str:
    rows = await db.fetch(f"EXPLAIN {queries.texts()[query]}", *arguments)
    return "\n".join(row[0] for row in rows)


async def test_settling_goes_to_its_messages_by_their_key(admin: asyncpg.Connection[Any]) -> None:
    ids = [uuid7() for _ in range(500)]
    nothing = [None] * 500
    values: dict[str, Any] = {
        "message_ids": ids,
        "attempts": [1] * 500,
        "states": ["due"] * 500,
        "now": None,
    }
    order = ("now", "message_ids", "attempts", "states", "locales", "errors", "pauses")
    found = await plan(admin, "settle", *[values.get(name, nothing) for name in order])
    assert "Index Scan using deliveries_pkey" in found
    assert "deliveries_due" not in found


async def test_claiming_looks_only_at_what_is_due(admin: asyncpg.Connection[Any]) -> None:
    found = await plan(admin, "claim", None, 500, None)
    assert "Index Scan using deliveries_due" in found
    assert "Seq Scan on deliveries" not in found


async def test_dispatches_are_settled_by_their_key(admin: asyncpg.Connection[Any]) -> None:
    found = await plan(admin, "settle_dispatches", None, [uuid7()] * 4, [1] * 4, [True] * 4)
    assert "Index Scan using dispatches_" in found
    assert "Seq Scan on dispatches" not in found


@pytest.mark.parametrize(("name", "table"), [("renew_dispatches", "dispatches"), ("renew", "deliveries")])
async def test_what_is_held_is_leased_anew_by_its_key(
    admin: asyncpg.Connection[Any], name: str, table: str
) -> None:
    found = await plan(admin, name, [uuid7()] * 4, [1] * 4, None)
    assert f"using {table}_" in found
    assert f"Seq Scan on {table}" not in found
    assert "deliveries_due" not in found


async def test_claiming_a_dispatch_looks_only_at_open_ones_and_their_messages(
    admin: asyncpg.Connection[Any],
) -> None:
    await admin.execute("SET enable_seqscan = off")  # as every service does; no message is there to look at
    found = await plan(admin, "claim_dispatch", None, None)
    assert "using dispatches_open" in found
    assert "messages_dispatch" in found
