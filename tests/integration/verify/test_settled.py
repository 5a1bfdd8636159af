"""What a fresh tenant looks like to the oracle."""

from pointbank.verify import unsettled, verify_tenant
from pointbank.verify.database import auditor
from shared.config import Settings
from shared.db import connect
from tests.support.tenants import new_tenant

WAITING = """
INSERT INTO earn.waiting (bill_id, recorded_at, kind, key, taken_at, since_ms, n, sequence, request_id)
VALUES (gen_random_uuid(), now(), 'member', 'nobody', now(), 0, 1, 1, 'r')
"""


async def test_a_tenant_that_nobody_used_is_settled(settings: Settings) -> None:
    tenant = await new_tenant(settings)
    async with auditor(settings, tenant.code) as db:
        assert await unsettled(db) == {}


async def test_a_tenant_that_nobody_used_holds_and_most_is_not_checked(settings: Settings) -> None:
    tenant = await new_tenant(settings)
    report = await verify_tenant(settings, tenant.code)
    assert report.broken == []
    # Uncut rows and retries of five services, twelve pairs of a stream and a hearer, and twelve kinds of their own.
    assert (report["settled"].verdict, report["settled"].compared) == ("holds", 5 + 5 + 12 + 12)
    assert report["offered-answered"].verdict == "not checked"


async def test_a_bill_that_waits_is_not_settled_until_it_was_told_as_unclaimed(settings: Settings) -> None:
    tenant = await new_tenant(settings)
    owner = await connect(settings.admin_dsn(), database=tenant.database)
    try:
        await owner.execute(WAITING)
        async with auditor(settings, tenant.code) as db:
            assert await unsettled(db) == {"bills waiting": 1}
        await owner.execute("UPDATE earn.waiting SET unclaimed = true")
        settled = (await verify_tenant(settings, tenant.code))["settled"]
        assert (settled.verdict, settled.notes) == ("holds", {"bills told as unclaimed": 1})
        await owner.execute("UPDATE earn.waiting SET ready = true")  # what it waited for has come
        async with auditor(settings, tenant.code) as db:
            assert await unsettled(db) == {"bills waiting": 1}
    finally:
        await owner.close()
