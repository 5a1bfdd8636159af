"""A tenant per test: a database of its own on the session's servers."""

import pytest

from shared.config import Settings
from shared.tenants import Tenant
from tests.support.tenants import new_tenant


@pytest.fixture
async def tenant(settings: Settings) -> Tenant:
    """A new tenant, with every service's schema."""
    return await new_tenant(settings)
