"""The list of what the database must guarantee, against a database that was just made."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pointbank.verify import Report, verify_tenant
from pointbank.verify.database import auditor, snapshot
from pointbank.verify.messaging.topology import SERVICES
from pointbank.verify.structure import catalogue, functions
from shared.config import Settings
from shared.db import Connection, connect, role_of
from shared.tenants import Tenant
from tests.support.tenants import new_tenant, suspend_all


@pytest.fixture
async def tenant(settings: Settings) -> Tenant:
    return await new_tenant(settings)


@pytest.fixture
async def owner(settings: Settings, tenant: Tenant) -> AsyncIterator[Connection]:
    """Somebody with all rights, who does what nobody should."""
    db = await connect(settings.admin_dsn(), database=tenant.database)
    yield db
    await db.close()


def renew(file: str, content: Any) -> None:
    text = msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=1)
    Path(catalogue.__file__).with_name(file).write_bytes(text + b"\n")


async def test_the_list_is_what_the_migrations_make(settings: Settings, tenant: Tenant) -> None:
    async with auditor(settings, tenant.code) as db, snapshot(db) as made:
        found, _ = await catalogue.describe(made, f"pb_{tenant.code}_")
        code = await functions.describe(made, f"pb_{tenant.code}_")
    if os.environ.get("RENEW_CATALOGUE"):
        renew("catalogue.json", found)
        renew("functions.json", code)
    wanted = catalogue.expected()
    assert found.keys() == wanted.keys()
    for table, content in wanted.items():
        assert found[table] == content, table
    assert code == functions.expected()


async def verified(settings: Settings, tenant: Tenant) -> Report:
    return await verify_tenant(settings, tenant.code)


async def test_a_fresh_database_holds(settings: Settings, tenant: Tenant) -> None:
    report = await verified(settings, tenant)
    for name in ("constraints", "append-only", "functions", "grants", "settings"):
        assert report[f"catalogue:{name}"].verdict == "holds", report[f"catalogue:{name}"].examples


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


async def test_a_right_that_is_missing_is_found(
    settings: Settings, tenant: Tenant, owner: Connection
) -> None:
    redeem, auditor_role = role_of(tenant.code, "redeem"), role_of(tenant.code, "auditor")
    await owner.execute(f'REVOKE SELECT, INSERT ON redeem.ledger FROM "{redeem}"')
    await owner.execute(f'REVOKE UPDATE (status) ON redeem.redemptions FROM "{redeem}"')
    await owner.execute(f'REVOKE USAGE ON SCHEMA redeem FROM "{redeem}"')
    await owner.execute(f'REVOKE EXECUTE ON FUNCTION redeem.ensure_partitions() FROM "{redeem}"')
    await owner.execute(f'REVOKE SELECT ON members.attempts FROM "{auditor_role}"')
    grants = (await verified(settings, tenant))["catalogue:grants"]
    assert grants.broken == 5
    assert sorted(grants.examples) == [
        "members.attempts: auditor may not SELECT",
        "redeem.ensure_partitions(): redeem may not EXECUTE",
        "redeem.ledger: redeem may not INSERT SELECT",
        "redeem.redemptions: redeem may not UPDATE(status)",
        "schema redeem: redeem may not USAGE",
    ]


async def test_settings_that_switch_a_guarantee_off_are_found(
    settings: Settings, tenant: Tenant, owner: Connection
) -> None:
    earn, redeem = role_of(tenant.code, "earn"), role_of(tenant.code, "redeem")
    await owner.execute(f'ALTER DATABASE "{tenant.database}" SET session_replication_role = replica')
    await owner.execute(f"ALTER DATABASE \"{tenant.database}\" SET work_mem = '8MB'")
    await owner.execute(f'ALTER ROLE "{redeem}" SET synchronous_commit = off')
    await owner.execute(f'ALTER ROLE "{earn}" IN DATABASE "{tenant.database}" SET search_path = redeem, earn')
    await owner.execute(f'GRANT SET ON PARAMETER session_replication_role TO "{earn}"')
    found = (await verified(settings, tenant))["catalogue:settings"].examples
    await owner.execute(f'REVOKE SET ON PARAMETER session_replication_role FROM "{earn}"')
    assert found == [
        "everybody in this database: session_replication_role is replica",
        "role earn in this database: search_path is redeem, earn, and should be earn",
        "role redeem in every database: synchronous_commit is off",
        "earn may set session_replication_role",
    ]


async def test_a_service_that_may_not_connect_is_found_unless_its_tenant_is_suspended(
    settings: Settings, tenant: Tenant, owner: Connection
) -> None:
    await owner.execute(
        f'REVOKE CONNECT ON DATABASE "{tenant.database}" FROM "{role_of(tenant.code, "earn")}"'
    )
    grants = (await verified(settings, tenant))["catalogue:grants"]
    assert grants.examples == ["the database: earn may not CONNECT"]
    await suspend_all(settings)
    assert (await verified(settings, tenant))["catalogue:grants"].verdict == "holds"


async def test_an_append_only_table_whose_guard_lets_everything_through_is_found(
    settings: Settings, tenant: Tenant, owner: Connection
) -> None:
    await owner.execute(
        """
        CREATE OR REPLACE FUNCTION redeem.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog
        AS $$ BEGIN RETURN coalesce(NEW, OLD); END $$;
        TRUNCATE redeem.ledger;
        """
    )
    report = await verified(settings, tenant)
    assert (
        report["catalogue:append-only"].verdict == "holds"
    )  # each trigger is there, and calls what it should
    assert report["catalogue:functions"].examples == [
        "redeem.refuse_change(): its body is not the one of the list"
    ]


async def test_a_function_that_runs_otherwise_is_found(
    settings: Settings, tenant: Tenant, owner: Connection
) -> None:
    await owner.execute(
        """
        ALTER FUNCTION earn.ensure_partitions() RESET search_path;
        ALTER FUNCTION tiers.forget_heard(text) SECURITY INVOKER;
        ALTER FUNCTION notifier.refuse_change() OWNER TO CURRENT_USER;
        DROP FUNCTION members.make_append_only(regclass);
        CREATE FUNCTION redeem.back_door() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT';
        REVOKE ALL ON FUNCTION redeem.back_door() FROM public;
        """
    )
    report = await verified(settings, tenant)
    assert [one.partition(": ")[0] for one in sorted(report["catalogue:functions"].examples)] == [
        "earn.ensure_partitions()",
        "members.make_append_only(regclass)",
        "notifier.refuse_change()",
        "redeem.back_door()",
        "tiers.forget_heard(text)",
    ]
    assert report["catalogue:grants"].verdict == "holds"


async def test_every_body_is_kept_as_it_was_written(owner: Connection) -> None:
    # One in SQL's own form is kept parsed: what PostgreSQL prints of it is another's from one release to the next.
    parsed = await owner.fetch(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE p.prosqlbody IS NOT NULL"
        " AND p.pronamespace = ANY($1::text[]::regnamespace[])",
        list(SERVICES),
    )
    assert parsed == []


async def test_a_check_whose_terms_were_regrouped_is_seen(
    settings: Settings, tenant: Tenant, owner: Connection
) -> None:
    await owner.execute(
        """
        ALTER TABLE redeem.gift_cards DROP CONSTRAINT gift_cards_lock_has_a_cause;
        ALTER TABLE redeem.gift_cards ADD CONSTRAINT gift_cards_lock_has_a_cause
            CHECK ((wrong_pins >= 0 AND locked_until IS NULL) OR wrong_pins > 0);
        """
    )
    [example] = (await verified(settings, tenant))["catalogue:constraints"].examples
    assert example.startswith("redeem.gift_cards: gift_cards_lock_has_a_cause is CHECK")


async def test_a_partition_whose_trigger_never_fires_is_found(
    settings: Settings, tenant: Tenant, owner: Connection
) -> None:
    partition = await owner.fetchval(
        "SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'redeem.ledger'::regclass"
    )
    await owner.execute(
        f"""
        DROP TRIGGER refuse_truncate ON {partition};
        CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {partition} FOR EACH STATEMENT WHEN (false)
        EXECUTE FUNCTION redeem.refuse_change();
        """
    )
    report = await verified(settings, tenant)
    assert report["catalogue:append-only"].examples == [f"partition {partition} does not refuse all changes"]
