"""What the job asks every few seconds stays quick however many members there are."""

from datetime import UTC, datetime

import pytest

from services.tiers.ending import queries
from shared.config import Settings
from shared.db import connect
from shared.tenants import Tenant
from shared.tenants.provision import dsn_for

MANY = """
INSERT INTO tiers.standings (wallet_id, member_id, programme, tier, since, until)
SELECT gen_random_uuid(), gen_random_uuid(), 'shops', 'gold', now(), now() + n * interval '1 minute'
FROM generate_series(1, 20000) AS g (n);
ANALYZE tiers.standings
"""


@pytest.mark.parametrize(
    ("query", "arguments"),
    [("first_ends", [["shops"]]), ("ended", ["shops", datetime(2026, 6, 1, tzinfo=UTC), 500])],
)
async def test_the_ends_of_standings_are_found_by_their_index(
    settings: Settings, tenant: Tenant, query: str, arguments: list[object]
) -> None:
    db = await connect(dsn_for(settings, tenant.database))
    transaction = db.transaction()
    await transaction.start()
    try:
        await db.execute(MANY)
        await db.execute("SET LOCAL search_path = tiers")
        rows = await db.fetch(f"EXPLAIN {queries.texts()[query]}", *arguments)
        plan = "\n".join(row[0] for row in rows)
        assert "using standings_ends on standings" in plan
        assert "Seq Scan" not in plan
        assert "Sort" not in plan
    finally:
        await transaction.rollback()
        await db.close()
