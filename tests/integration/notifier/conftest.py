"""A tenant for the tests of notifier, emptied before each, and its service's process without jobs and streams."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.notifier.handlers import ON
from shared.config import Settings
from shared.db import connect
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from shared.tenants.provision import dsn_for
from tests.support.facts import autumn_2026
from tests.support.tenants import new_tenant, running


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    return asyncio.run(new_tenant(settings))


@pytest.fixture
async def notifier(settings: Settings, tenant: Tenant) -> AsyncIterator[TenantRuntime]:
    # What is due is due to every sender, so a test starts with nothing; only an administrator can take it away.
    admin = await connect(dsn_for(settings, tenant.database))
    await admin.execute(
        "TRUNCATE notifier.deliveries, notifier.dispatches, notifier.messages, notifier.wallets, notifier.members"
    )
    await admin.close()
    async with running(settings, tenant, "notifier", ON, clock=autumn_2026) as runtime:
        if old := await runtime.redis.keys(runtime.keys.out("*")):
            await runtime.redis.delete(*old)
        yield runtime
