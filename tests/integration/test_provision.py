"""Tenants are made where they are to be: on the administrator's server, or on one of their own."""

import secrets
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg
import pytest

from pointbank.dead_letters import list_dead_letters
from pointbank.logins import UnknownTenant, log_in
from pointbank.running import AUDITOR, Deployment
from pointbank.verify.database import UnknownTenant as NobodyToVerify
from pointbank.verify.database import auditor
from shared.config import Settings
from shared.db import database_of
from shared.tenants.directory import Directory, control_role
from shared.tenants.provision import create_tenant, dsn_for, list_tenants, migrate_all, prepare_control
from tests.support.door import door_to


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
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
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
