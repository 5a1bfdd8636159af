"""Tenants are made where they are to be: on the administrator's server, or on one of their own."""

import asyncio
import secrets
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg
import pytest

from pointbank.logins import UnknownTenant, log_in
from pointbank.operating.dead_letters import list_dead_letters
from pointbank.running import AUDITOR, Deployment
from pointbank.verify.database import UnknownTenant as NobodyToVerify
from pointbank.verify.database import auditor
from shared.config import Settings
from shared.db import database_of
from shared.login import ShutOut
from shared.messaging.keys import SERVICES
from shared.migrate import LOCK_KEY, schema_version
from shared.tenants.directory import Directory, control_role
from shared.tenants.directory import queries as directory_sql
from shared.tenants.provision import create_tenant, dsn_for, list_tenants, migrate_all, prepare_control
from tests.support.door import door_to
from tests.support.patience import PATIENCE_S


@pytest.fixture
async def own(settings: Settings) -> Settings:
    """A directory of this test's own."""
    made = settings.model_copy(update={"control_database": f"pointbank_test_{secrets.token_hex(4)}"})
    await prepare_control(made)
    return made


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://admin:pw@db:5432/postgres?sslmode=require", "postgresql://admin:pw@big:6543/pb_acme?sslmode=require"),
        ("postgresql://admin@/postgres?host=/run/postgresql", "postgresql://admin@big:6543/pb_acme"),
    ],
)  # fmt: skip
def test_a_server_of_its_own_is_asked_as_the_same_administrator(dsn: str, expected: str) -> None:
    settings = Settings(postgres_dsn=dsn)
    assert dsn_for(settings, "pb_acme", "big", 6543) == expected
    assert dsn_for(settings, "") == dsn


async def test_a_tenant_with_a_server_of_its_own_is_made_there_and_nowhere_else(own: Settings) -> None:
    code, port = f"t{secrets.token_hex(4)}", urlsplit(own.postgres_dsn or "").port
    with pytest.raises(OSError, match="Connect call failed"):
        await create_tenant(own, code, host="127.0.0.2", port=1)
    db = await asyncpg.connect(own.postgres_dsn)
    try:
        query = "SELECT count(*) FROM pg_database WHERE datname = $1"
        assert await db.fetchval(query, database_of(code)) == 0
        # The mistake is mended by asking again; what is made stays where it is.
        await create_tenant(own, code, host="localhost", port=port)
        await create_tenant(own, code, host="127.0.0.2", port=1)
        assert await db.fetchval(query, database_of(code)) == 1
    finally:
        await db.close()
    [made] = await list_tenants(own)
    assert (made.place.host, made.place.port, made.state) == ("localhost", port, "active")
    assert await migrate_all(own) == {code: []}
    directory = Directory(own, "earn")
    await directory.open()
    [listed] = await directory.tenants()
    await directory.close()
    assert (listed.tenant.host, listed.tenant.port, listed.state) == ("localhost", port, "active")
    assert await list_dead_letters(own, code) == []


async def test_the_directory_is_read_again_when_it_has_changed_and_only_then(own: Settings) -> None:
    code = f"t{secrets.token_hex(4)}"
    directory = Directory(own, "earn")
    await directory.open()
    db = await asyncpg.connect(own.postgres_dsn, database=own.control_database)

    async def change(sql: str) -> None:
        await db.execute(sql.replace("THIS", f"'{code}'"))

    try:
        assert await directory.tenants() == ()
        for sql in (
            "INSERT INTO control.tenants (code, cell, database, state) VALUES (THIS, 'main', THIS, 'creating')",
            "UPDATE control.tenants SET state = 'active'",
            "INSERT INTO control.schema_versions (tenant, service, version, state) VALUES (THIS, 'earn', 1, 'ready')",
            "UPDATE control.schema_versions SET version = 2",
            "UPDATE control.schema_versions SET state = 'migrating'",
            "UPDATE control.schema_versions SET needs = '{0001_first.sql}'",
            "UPDATE control.tenants SET host = 'elsewhere', port = 5433",
            "UPDATE control.tenants SET cell = 'other'",
        ):
            before = await directory.tenants()
            assert await directory.tenants() is before
            await change(sql)
            assert await directory.tenants() is not before, sql
        after = await directory.tenants()
        [listed] = after
        assert (listed.tenant.host, listed.tenant.port, listed.tenant.cell) == ("elsewhere", 5433, "other")
        await change(
            "INSERT INTO control.schema_versions (tenant, service, version, state) VALUES (THIS, 'tiers', 1, 'ready')"
        )
        assert await directory.tenants() is after, "another service's versions are no change"
    finally:
        await db.close()
        await directory.close()


async def test_dead_letters_of_nobody_are_asked_for_in_vain(own: Settings) -> None:
    with pytest.raises(UnknownTenant, match="there is no tenant nobody; `pointbank tenant list` shows"):
        await list_dead_letters(own, "nobody")


async def test_whoever_logs_in_to_a_tenant_goes_where_the_directory_says(own: Settings) -> None:
    code, neighbour = f"t{secrets.token_hex(4)}", f"t{secrets.token_hex(4)}"
    await create_tenant(own, neighbour)
    async with door_to(own.postgres_host, own.postgres_port) as door:
        await create_tenant(own, code, host=door.host, port=door.port)
        deployment = Deployment(own, "", cast(Any, None), "", cast(Any, None))
        for part in ("earn", AUDITOR):
            before = door.entered
            db = await deployment.login(code, part)
            try:
                assert await db.fetchval("SELECT current_database()") == database_of(code)
            finally:
                await db.close()
            assert door.entered == before + 1, part
        before = door.entered
        async with auditor(own, code) as db:
            assert await db.fetchval("SELECT current_database()") == database_of(code)
        assert door.entered == before + 1, "verify"
        await list_dead_letters(own, code, services=("earn",))
        assert door.entered == before + 2, "dead letters"
        # A neighbour's door is tried where the neighbour lives.
        with pytest.raises(ShutOut):
            await log_in(own, neighbour, "earn", enter=code)
        assert door.entered == before + 3


async def test_of_the_directory_the_auditor_sees_where_tenants_are_and_nothing_else(own: Settings) -> None:
    role = control_role(AUDITOR)
    db = await asyncpg.connect(
        host=own.postgres_host,
        port=own.postgres_port,
        database=own.control_database,
        user=role,
        password=own.password_of(AUDITOR, role),
    )
    try:
        assert await db.fetchval("SELECT count(*) FROM control.tenants") == 0
        for refused in (
            "SELECT * FROM control.positions",
            "DELETE FROM control.tenants",
            "CREATE TABLE public.t ()",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.execute(refused)
    finally:
        await db.close()


async def test_a_tenant_that_nobody_made_can_not_be_verified(own: Settings) -> None:
    with pytest.raises(NobodyToVerify, match="there is no tenant nobody"):
        async with auditor(own, "nobody"):
            pass


async def state_of(own: Settings, service: str = "earn") -> tuple[str, str, bool]:
    """How a process of this code sees the only tenant, and whether it takes the release for made."""
    directory = Directory(own, service)
    await directory.open()
    try:
        [listed] = await directory.tenants()
        return listed.state, listed.detail, await directory.released()
    finally:
        await directory.close()


async def test_tables_may_be_ahead_of_a_process_and_never_behind_it(own: Settings) -> None:
    code = f"t{secrets.token_hex(4)}"
    await create_tenant(own, code)
    assert await state_of(own) == ("active", "", True)
    db = await asyncpg.connect(dsn_for(own, own.control_database))
    try:
        # As a much later release leaves it: it only added, or it took away what this code can't be without.
        await db.execute("UPDATE control.schema_versions SET version = version + 7")
        assert await state_of(own) == ("active", "", True)
        await db.execute("UPDATE control.schema_versions SET needs = '{services.earn/9001_later.sql}'")
        state, detail, _ = await state_of(own)
        assert (state, detail) == (
            "migrating", "this release is too old for its tables, they need services.earn/9001_later.sql",
        )  # fmt: skip
        # This release's own command takes neither back.
        assert await migrate_all(own) == {code: []}
        assert (await state_of(own))[0] == "migrating"
        await db.execute("UPDATE control.schema_versions SET needs = '{}', version = version - 1")
        state, detail, _ = await state_of(own)
        assert state == "migrating"
        assert detail.endswith("migrations of this release have run: `pointbank migrate`")
        # Before the command of this release has been at everybody a process is not ready; another's later word is believed.
        await db.execute("UPDATE control.releases SET version = version - 1")
        assert not (await state_of(own))[2]
        assert await migrate_all(own) == {code: []}
        assert await state_of(own) == ("active", "", True)
    finally:
        await db.close()


async def test_of_two_who_move_a_tenant_one_does(own: Settings) -> None:
    code = f"t{secrets.token_hex(4)}"
    db = await asyncpg.connect(dsn_for(own, own.control_database))

    async def moved(host: str, was: str | None) -> bool:
        there = {"host": host, "port": 5432, "was_host": was, "was_port": 5432 if was else None}
        return await directory_sql.move_place(db, code=code, **there) is not None

    try:
        await directory_sql.add_tenant(
            db, code=code, cell="c1", database=database_of(code), host=None, port=None
        )
        await directory_sql.activate(db, code=code)
        assert not await moved("one", None), "it is served"
        await db.execute("UPDATE control.tenants SET state = 'suspended'")
        assert await moved("one", None)
        assert not await moved("other", None), "it is there no more"
        assert await moved("other", "one")
    finally:
        await db.close()


async def test_a_migration_that_fails_leaves_the_tenant_to_the_release_before(own: Settings) -> None:
    code = f"t{secrets.token_hex(4)}"
    await create_tenant(own, code)
    tenant = await asyncpg.connect(dsn_for(own, database_of(code)))
    control = await asyncpg.connect(dsn_for(own, own.control_database))
    try:
        # The last file has not run, and can't: what it makes is in its way.
        await tenant.execute("DELETE FROM redeem.migrations WHERE name LIKE '%told_events.sql'")
        await control.execute("UPDATE control.releases SET version = version - 1")
        assert isinstance((await migrate_all(own))[code], asyncpg.DuplicateTableError)
        row = await control.fetchrow(
            "SELECT version, state FROM control.schema_versions WHERE service = 'redeem'"
        )
        assert tuple(row or ()) == (schema_version("redeem") - 1, "failed")
        assert await state_of(own, "earn") == ("active", "", False)  # and processes of this release wait
        assert (await state_of(own, "redeem"))[0] == "migrating"
    finally:
        await tenant.close()
        await control.close()


async def test_a_migration_waits_for_a_table_without_making_others_wait(own: Settings) -> None:
    code = f"t{secrets.token_hex(4)}"
    await create_tenant(own, code)
    reader = await asyncpg.connect(dsn_for(own, database_of(code)))
    other = await asyncpg.connect(dsn_for(own, database_of(code)))
    try:
        await other.execute("DROP TABLE redeem.compared_seals CASCADE")
        await other.execute("DELETE FROM redeem.migrations WHERE name LIKE '%told_events.sql'")
        reading = reader.transaction()
        await reading.start()  # somebody counts for a long time
        await reader.execute("SELECT count(*) FROM redeem.reconciliation_differences")
        migrating = asyncio.create_task(migrate_all(own))
        for _ in range(5):
            await asyncio.sleep(0.25)
            async with asyncio.timeout(PATIENCE_S / 6):
                await other.execute("SELECT count(*) FROM redeem.reconciliation_differences")
        assert not migrating.done()
        await reading.rollback()
        assert (await migrating)[code] == ["services.redeem/0072_told_events.sql"]
    finally:
        await reader.close()
        await other.close()


async def test_who_reads_the_directory_for_long_keeps_no_migration_and_no_service_waiting(
    own: Settings,
) -> None:
    code = f"t{secrets.token_hex(4)}"
    await create_tenant(own, code)
    reader = await asyncpg.connect(dsn_for(own, own.control_database))
    directory = Directory(own, "earn")
    await directory.open()
    dumping = reader.transaction()
    await dumping.start()
    try:
        for table in ("tenants", "schema_versions", "releases", "positions"):
            await reader.execute(f"SELECT count(*) FROM control.{table}")
        migrating = asyncio.create_task(migrate_all(own))
        await asyncio.sleep(0.5)
        async with asyncio.timeout(PATIENCE_S / 6):
            await directory.report(code, {"members": 7})
            assert await directory.highest_position(code, "members") == 7
            assert await migrating == {code: []}
    finally:
        await dumping.rollback()
        await reader.close()
        await directory.close()


async def test_of_several_who_migrate_at_once_none_fails(own: Settings) -> None:
    code = f"t{secrets.token_hex(4)}"
    await create_tenant(own, code)
    for _ in range(3):
        assert await asyncio.gather(*[migrate_all(own) for _ in range(4)]) == [{code: []}] * 4


async def test_who_meets_a_migration_of_another_waits_for_it_with_what_it_grants(own: Settings) -> None:
    code = f"t{secrets.token_hex(4)}"
    await create_tenant(own, code)
    other = await asyncpg.connect(dsn_for(own, database_of(code)))
    try:
        async with other.transaction():  # as a file that runs
            await other.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
            await other.execute(f"ALTER TABLE {SERVICES[0]}.outbox ADD COLUMN later text")
            migrating = asyncio.create_task(migrate_all(own))
            # Not of pg_stat_activity: a transaction sees that as it was at its first look.
            waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
            async with asyncio.timeout(PATIENCE_S):
                while not await other.fetchval(waits):
                    await asyncio.sleep(0.02)
        assert await migrating == {code: []}
    finally:
        await other.close()


async def test_of_several_who_make_one_tenant_at_once_each_finds_it_made(own: Settings) -> None:
    code = f"t{secrets.token_hex(4)}"
    assert await asyncio.gather(*[create_tenant(own, code) for _ in range(4)]) == [None] * 4
    assert [(one.code, one.state, one.failure) for one in await list_tenants(own)] == [(code, "active", None)]
    assert await migrate_all(own) == {code: []}


ALTERED = {
    "a service may write what others report": "ALTER POLICY own_earn ON control.positions USING (true) WITH CHECK (true)",
    "another service's policy is a service's": "ALTER POLICY own_earn ON control.positions TO pb_control_members",
    "a service has none": "DROP POLICY own_earn ON control.positions",
    "nobody sees what others report": "ALTER POLICY read_all ON control.positions USING (false)",
    "none of them is asked": "ALTER TABLE control.positions DISABLE ROW LEVEL SECURITY",
}


@pytest.mark.parametrize("sql", ALTERED.values(), ids=ALTERED)
async def test_who_may_report_what_is_as_the_release_says_once_it_is_migrated(
    own: Settings, sql: str
) -> None:
    policies = """
        SELECT p.policyname, p.permissive, p.cmd, p.roles, p.qual, p.with_check, c.relrowsecurity
        FROM pg_policies AS p, pg_class AS c
        WHERE p.tablename = 'positions' AND c.oid = 'control.positions'::regclass
        ORDER BY p.policyname
    """
    control = await asyncpg.connect(dsn_for(own, own.control_database))
    try:
        meant = await control.fetch(policies)
        assert len(meant) == 1 + len(SERVICES)
        await control.execute(sql)
        assert await control.fetch(policies) != meant
        assert await migrate_all(own) == {}
        assert await control.fetch(policies) == meant
    finally:
        await control.close()


async def test_what_is_put_right_in_the_directory_makes_no_service_wait(own: Settings) -> None:
    reader = await asyncpg.connect(dsn_for(own, own.control_database))
    directory = Directory(own, "earn")
    await directory.open()
    try:
        await reader.execute("ALTER POLICY own_earn ON control.positions USING (true)")
        reading = reader.transaction()
        await reading.start()
        await reader.execute("SELECT count(*) FROM control.positions")
        migrating = asyncio.create_task(migrate_all(own))
        for _ in range(5):
            await asyncio.sleep(0.25)
            async with asyncio.timeout(PATIENCE_S / 6):
                assert await directory.highest_position("nobody", "members") is None
        assert not migrating.done()
        await reading.rollback()
        assert await migrating == {}
    finally:
        await reader.close()
        await directory.close()
