"""Each tenant's roles are let in to that tenant's database, and to no other on the same server."""

import asyncpg
import pytest

from shared.config import Settings
from shared.db import role_of
from shared.tenants import Tenant
from shared.tenants.provision import AUDITOR
from tests.integration.test_sql import SERVICES
from tests.support.tenants import new_tenant

PARTS = (*SERVICES, AUDITOR)


@pytest.fixture
async def neighbours(settings: Settings) -> tuple[Tenant, Tenant]:
    return await new_tenant(settings), await new_tenant(settings)


async def enter(settings: Settings, tenant: Tenant, part: str, *, database: str) -> str:
    """The database that the role of `part` in `tenant` gets to, with its right password."""
    role = role_of(tenant.code, part)
    db = await asyncpg.connect(
        host=tenant.host,
        port=tenant.port,
        database=database,
        user=role,
        password=settings.password_of(part, role),
    )
    try:
        return str(await db.fetchval("SELECT current_database()"))
    finally:
        await db.close()


async def test_a_tenants_roles_can_not_enter_another_tenants_database(
    settings: Settings, neighbours: tuple[Tenant, Tenant]
) -> None:
    for mine, other in (neighbours, neighbours[::-1]):
        assert (mine.host, mine.port) == (other.host, other.port)
        for part in PARTS:
            # The same login opens its own door: what is refused below is the other's.
            assert await enter(settings, mine, part, database=mine.database) == mine.database
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=other.database):
                await enter(settings, mine, part, database=other.database)


async def test_a_tenants_roles_can_not_enter_the_directory(
    settings: Settings, neighbours: tuple[Tenant, Tenant]
) -> None:
    for part in PARTS:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=settings.control_database):
            await enter(settings, neighbours[0], part, database=settings.control_database)
