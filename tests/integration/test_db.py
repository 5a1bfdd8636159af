"""What we rely on in asyncpg and in a service's connections."""

from uuid import UUID

from shared.config import Settings
from shared.runtime import open_tenant_pool
from shared.tenants import Tenant


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
