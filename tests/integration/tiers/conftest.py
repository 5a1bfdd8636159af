"""A tenant for the tests of tiers, and its service's process without the streams it hears."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.tiers.handlers import ON
from services.tiers.settling import settle_all
from shared.config import Settings
from shared.jobs import Job
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.facts import autumn_2026
from tests.support.tenants import new_tenant, running


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    return asyncio.run(new_tenant(settings))


@pytest.fixture
async def tiers(settings: Settings, tenant: Tenant) -> AsyncIterator[TenantRuntime]:
    jobs = (Job("settle", every_s=0.05, run=settle_all),)
    async with running(settings, tenant, "tiers", ON, jobs=jobs, clock=autumn_2026) as runtime:
        yield runtime
