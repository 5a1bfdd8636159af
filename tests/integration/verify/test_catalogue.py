"""The list of what the database must guarantee, against a database that was just made."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from pointbank.verify import Report, catalogue, verify_tenant
from pointbank.verify.database import auditor, snapshot
from shared.config import Settings
from shared.db import Connection, connect, role_of
from shared.tenants import Tenant
from tests.support.tenants import new_tenant


@pytest.fixture
async def tenant(settings: Settings) -> Tenant:
    return await new_tenant(settings)


@pytest.fixture
async def owner(settings: Settings, tenant: Tenant) -> AsyncIterator[Connection]:
    """Somebody with all rights, who does what nobody should."""
    db = await connect(settings.admin_dsn(), database=tenant.database)
    yield db
    await db.close()


async def test_the_list_is_what_the_migrations_make(settings: Settings, tenant: Tenant) -> None:
    async with auditor(settings, tenant.code) as db, snapshot(db) as made:
        found = await catalogue.describe(made, f"pb_{tenant.code}_")
    if os.environ.get("RENEW_CATALOGUE"):
        text = msgspec.json.format(msgspec.json.encode(found, order="sorted"), indent=1)
        Path(catalogue.__file__).with_name("catalogue.json").write_bytes(text + b"\n")
    wanted = catalogue.expected()
    assert found.keys() == wanted.keys()
    for table, content in wanted.items():
        assert found[table] == content, table


async def verified(settings: Settings, tenant: Tenant) -> Report:
    return await verify_tenant(settings, tenant.code)


async def test_a_fresh_database_holds(settings: Settings, tenant: Tenant) -> None:
    report = await verified(settings, tenant)
    for name in ("catalogue:constraints", "catalogue:append-only", "catalogue:grants"):
        assert report[name].verdict == "holds", report[name].examples


async def test_a_constraint_that_was_dropped_is_missed(
    settings: Settings, tenant: Tenant, owner: Connection
) -> None:
    await owner.execute("ALTER TABLE redeem.wallets DROP CONSTRAINT wallets_available_never_negative")
    [example] = (await verified(settings, tenant))["catalogue:constraints"].examples
    assert example.startswith("redeem.wallets: wallets_available_never_negative is not there")


async def test_a_constraint_that_was_weakened_is_seen(
    settings: Settings, tenant: Tenant, owner: Connection
) -> None:
    await owner.execute(
        """
        ALTER TABLE redeem.lots DROP CONSTRAINT lots_points_positive;
        ALTER TABLE redeem.lots ADD CONSTRAINT lots_points_positive CHECK (points > -1000);
        """
    )
    report = await verified(settings, tenant)
    assert report["catalogue:constraints"].broken == 1


async def test_a_partition_that_lost_its_trigger_is_found(
    settings: Settings, tenant: Tenant, owner: Connection
) -> None:
    partition = await owner.fetchval(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'redeem.ledger'::regclass"
    )
    await owner.execute(f"ALTER TABLE {partition} DISABLE TRIGGER refuse_truncate")
    report = await verified(settings, tenant)
    assert report["catalogue:append-only"].examples == [f"partition {partition} does not refuse all changes"]


async def test_a_right_too_many_is_found(settings: Settings, tenant: Tenant, owner: Connection) -> None:
    role = role_of(tenant.code, "earn")
    await owner.execute(f'GRANT USAGE ON SCHEMA redeem TO "{role}"')
    await owner.execute(f'GRANT SELECT ON redeem.wallets TO "{role}"')
    await owner.execute(f'GRANT DELETE ON redeem.ledger TO "{role_of(tenant.code, "redeem")}"')
    await owner.execute("GRANT SELECT ON members.contacts TO public")
    report = await verified(settings, tenant)
    assert sorted(report["catalogue:grants"].examples) == [
        "members.contacts: everybody may SELECT",
        "redeem.ledger: redeem may DELETE INSERT SELECT, and it is append-only",
        "redeem.ledger: redeem may DELETE, which is not on the list",
        "redeem.wallets: earn may SELECT",
        "schema redeem: earn may USAGE",
    ]
