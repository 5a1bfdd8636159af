"""`make run` tries invariant 7 as each role: what it knocks at, and that it notices a door that is open."""

import asyncpg
import pytest

from pointbank.demo.trespass import queries, trespass
from shared.config import Settings
from shared.db import role_of
from shared.tenants import Tenant
from tests.integration.test_sql import SERVICES
from tests.support.tenants import connect_as, new_tenant


@pytest.fixture
async def neighbours(settings: Settings) -> tuple[Tenant, Tenant]:
    return await new_tenant(settings), await new_tenant(settings)


async def doors(settings: Settings, tenant: Tenant, part: str) -> set[str]:
    db = await connect_as(settings, tenant, part)
    try:
        return {row["statement"] for row in await queries.doors(db, schemas=list(SERVICES), who=part)}
    finally:
        await db.close()


async def test_every_door_is_shut(settings: Settings, neighbours: tuple[Tenant, Tenant]) -> None:
    mine, other = neighbours
    result = await trespass(settings, mine.code, neighbour=other.code)
    assert result.let_through == []
    assert result.tried == 6 + sum([len(await doors(settings, mine, one)) for one in (*SERVICES, "auditor")])


async def test_every_door_is_knocked_at(settings: Settings, neighbours: tuple[Tenant, Tenant]) -> None:
    tenant, _ = neighbours
    bank, auditor = await doors(settings, tenant, "redeem"), await doors(settings, tenant, "auditor")
    partition = next(one for one in bank if one.startswith("TRUNCATE redeem.ledger_2")).removeprefix(
        "TRUNCATE "
    )
    for table in ("redeem.ledger", partition, "redeem.gift_card_lines", "redeem.seals", "redeem.audit"):
        assert {f"TRUNCATE {table}", f"DELETE FROM {table} WHERE false"} <= bank & auditor
        assert any(one.startswith(f"UPDATE {table} SET ") for one in bank & auditor)
    assert {"SELECT FROM members.contacts LIMIT 0", "INSERT INTO earn.outbox DEFAULT VALUES"} <= bank
    assert not any(one.startswith(("SELECT FROM redeem.", "INSERT INTO redeem.")) for one in bank)
    for table in ("tiers.history", "members.consents", "notifier.audit", "earn.refund_requests"):
        assert f"DELETE FROM {table} WHERE false" in auditor
    assert not any(one.startswith("DELETE FROM redeem.wallets ") for one in bank | auditor)


async def test_doors_that_were_opened_are_told_and_nothing_is_left_of_the_tries(
    settings: Settings, neighbours: tuple[Tenant, Tenant]
) -> None:
    mine, other = neighbours
    tiers, auditor = role_of(mine.code, "tiers"), role_of(mine.code, "auditor")
    owner = await asyncpg.connect(settings.postgres_dsn, database=mine.database)
    try:
        await owner.execute(
            f"""
            GRANT USAGE ON SCHEMA earn TO "{tiers}";
            GRANT SELECT, INSERT ON earn.attempts TO "{tiers}";
            GRANT UPDATE (at) ON tiers.audit TO "{tiers}";
            GRANT DELETE ON redeem.seals TO "{auditor}";
            GRANT CONNECT ON DATABASE "{other.database}" TO "{tiers}";
            """
        )
        result = await trespass(settings, mine.code, neighbour=other.code)
        left = await owner.fetchval("SELECT count(*) FROM earn.attempts")
    finally:
        await owner.close()
    assert sorted(result.let_through) == [
        "auditor: DELETE FROM redeem.seals WHERE false",
        "tiers enters " + other.code,
        "tiers: INSERT INTO earn.attempts DEFAULT VALUES",
        "tiers: SELECT FROM earn.attempts LIMIT 0",
        "tiers: UPDATE tiers.audit SET at = DEFAULT WHERE false",
    ]
    assert left == 0
