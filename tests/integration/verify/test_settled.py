"""What a fresh tenant looks like to the oracle."""

from pointbank.verify import unsettled, verify_tenant
from pointbank.verify.database import auditor
from shared.config import Settings
from tests.support.tenants import new_tenant


async def test_a_tenant_that_nobody_used_is_settled(settings: Settings) -> None:
    tenant = await new_tenant(settings)
    async with auditor(settings, tenant.code) as db:
        assert await unsettled(db) == {}


async def test_a_tenant_that_nobody_used_holds_and_most_is_not_checked(settings: Settings) -> None:
    tenant = await new_tenant(settings)
    report = await verify_tenant(settings, tenant.code)
    assert report.broken == []
    assert report["settled"].verdict == "holds"
    assert report["offered-answered"].verdict == "not checked"
