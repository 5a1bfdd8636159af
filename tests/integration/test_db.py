"""What we rely on in asyncpg and in a service's connections."""

import time
from uuid import UUID

import asyncpg
import pytest

from shared.budget import Budget
from shared.config import Settings
from shared.db import Kept, connect, role_of
from shared.guards import guarded
from shared.login import ShutOut
from shared.messaging.faults import passing
from shared.runtime import open_tenant_pool
from shared.tenants import Tenant
from shared.tenants.provision import dsn_for


async def test_arrays_of_lists_and_tuples_arrive_as_they_are(settings: Settings, tenant: Tenant) -> None:
    one = UUID("01a2027d-d250-7b1f-91a5-11f1da0cd348")
    async with await open_tenant_pool(settings, tenant, "earn") as pool:
        assert await pool.fetchval("SELECT $1::int[]", [[1, 2], [3, 4]]) == [[1, 2], [3, 4]]
        assert await pool.fetchval("SELECT $1::uuid[]", (one, None)) == [one, None]
        assert await pool.fetchval("SELECT $1::text[]", ["a", "bc"]) == ["a", "bc"]
        assert await pool.fetchval("SELECT $1::bytea[]", [b"\x00", b"b"]) == [b"\x00", b"b"]


async def test_a_service_finds_its_rows_by_key_whatever_the_planner_knows(
    settings: Settings, tenant: Tenant
) -> None:
    async with await open_tenant_pool(settings, tenant, "redeem") as pool:
        shown = {
            name: await pool.fetchval(f"SHOW {name}")
            for name in ("enable_seqscan", "enable_hashjoin", "jit", "plan_cache_mode")
        }
        assert shown == {
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "jit": "off",
            "plan_cache_mode": "force_generic_plan",
        }
        assert await pool.fetchval("SELECT current_user") == f"pb_{tenant.code}_redeem"
        assert await pool.fetchval("SHOW search_path") == "redeem"


async def test_a_connection_is_kept_from_turn_to_turn(settings: Settings, tenant: Tenant) -> None:
    async with await open_tenant_pool(settings, tenant, "earn") as pool:
        kept = Kept(pool)
        async with kept.acquire() as db:
            first = db.get_server_pid()
            async with kept.acquire() as other:  # in use: another of the pool's
                second = other.get_server_pid()
                assert second != first
        async with kept.acquire() as db:
            assert db.get_server_pid() == second, "whose turn ended first is kept, the other went back"
            with pytest.raises(asyncpg.ConnectionDoesNotExistError):
                await db.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        async with kept.acquire() as db:
            assert db.get_server_pid() not in {0, second}, "what broke is not given again"
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with kept.acquire() as db:
                await db.fetchval("SELECT 1 / 0")
        assert pool.get_size() == pool.get_idle_size(), "after a turn that failed the pool has it back"
        async with kept.acquire() as db:
            assert await db.fetchval("SELECT 1") == 1
        await kept.close()
        assert pool.get_size() == pool.get_idle_size()
        async with kept.acquire() as db:  # what still runs while it closes
            assert await db.fetchval("SELECT 1") == 1
        assert pool.get_size() == pool.get_idle_size()


async def test_of_the_last_connection_nothing_is_kept(settings: Settings, tenant: Tenant) -> None:
    small = settings.model_copy(update={"pool_size": 1})
    async with await open_tenant_pool(small, tenant, "earn") as pool:
        kept = Kept(pool)
        for _ in range(3):
            async with kept.acquire() as db:
                assert await db.fetchval("SELECT 1") == 1
            assert await pool.fetchval("SELECT 2", timeout=5) == 2


async def test_who_stands_still_with_a_lock_loses_it_and_others_go_on(
    settings: Settings, tenant: Tenant
) -> None:
    """A process that is frozen, on a machine that hangs, say, is not dead: PostgreSQL ends what it began, and it may try again."""
    longest_s = (settings.idle_in_transaction_ms + settings.lock_timeout_ms) / 1e3
    assert longest_s < 10, "work is taken over within ten seconds"
    hasty = settings.model_copy(update={"idle_in_transaction_ms": 300})
    lock = "SELECT applied_through FROM positions WHERE stream = 'members' FOR UPDATE"
    async with (
        await open_tenant_pool(hasty, tenant, "earn") as pool,
        pool.acquire() as frozen,
        pool.acquire() as other,
    ):
        turn = frozen.transaction()
        await turn.start()
        assert await frozen.fetchval(lock) is not None
        began = time.monotonic()
        assert await other.fetchval(lock) is not None
        assert time.monotonic() - began > 0.2
        with pytest.raises(Exception) as lost:  # noqa: PT011  # how it is told depends on who sees the end first
            await frozen.fetchval("SELECT 1")
        assert passing(lost.value)


@pytest.mark.parametrize("budget", [None, Budget(1)], ids=["directory's", "tenants'"])
async def test_who_is_shut_out_of_a_database_is_told_so_and_no_statement_is_blamed(
    settings: Settings, tenant: Tenant, budget: Budget | None
) -> None:
    admin = await connect(dsn_for(settings, tenant.database))
    said = f"CONNECT ON DATABASE {tenant.database}"
    async with await open_tenant_pool(settings, tenant, "notifier", budget=budget) as pool:
        await admin.execute(f"REVOKE {said} FROM {role_of(tenant.code, 'notifier')}, PUBLIC")
        try:
            with pytest.raises(ShutOut, match="permission denied for database") as raised:
                await pool.fetchval("SELECT 1")
        finally:
            await admin.execute(f"GRANT {said} TO {role_of(tenant.code, 'notifier')}")
            await admin.close()
        assert passing(raised.value), "a caller is told to come again, an item is kept"
        assert guarded(raised.value) is None
        assert await pool.fetchval("SELECT 1") == 1
