"""A tenant for the tests of tiers, and its service's process without the streams it hears."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from pointbank.tokens import DevKeys, issue
from services.tiers.app import create
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


@asynccontextmanager
async def calling(settings: Settings, tenant: Tenant, keys: DevKeys) -> AsyncIterator[httpx.AsyncClient]:
    """Support's calls to a process of the service."""
    app = create(settings.model_copy(update={"jwt_keys": str(keys.jwks)}))
    token = issue(keys, role="support", tenant=tenant.code, subject="somebody")
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://tiers",
            headers={"Authorization": f"Bearer {token}"},
        ) as client,
    ):
        yield client
