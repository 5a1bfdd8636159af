"""A service's process follows the directory: whom it serves, and what it says to the others."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from pointbank.operating.suspending import resume, suspend
from shared.config import Settings
from shared.db import connect, database_of, role_of
from shared.ending import end
from shared.errors import Refusal
from shared.http.health import lives, serves
from shared.metrics import Metrics
from shared.runtime import Blueprint
from shared.service import Service
from shared.tenants.provision import create_tenant, dsn_for, prepare_control
from tests.support.patience import PATIENCE_S


@pytest.fixture
async def own(settings: Settings) -> Settings:
    """A directory of this test's own."""
    made = settings.model_copy(update={"control_database": f"pointbank_test_{secrets.token_hex(4)}"})
    await prepare_control(made)
    return made


async def test_a_tenant_of_another_cell_is_served_by_that_cells_processes_alone(own: Settings) -> None:
    here, elsewhere = f"t{secrets.token_hex(4)}", f"t{secrets.token_hex(4)}"
    await create_tenant(own, here)
    await create_tenant(own, elsewhere, cell="other")
    for cell, served, refused in (("main", here, elsewhere), ("other", elsewhere, here)):
        settings = own.model_copy(update={"cell": cell})
        service = Service(Blueprint("members", {}, ()), settings, Metrics(CollectorRegistry(), "members"))
        await service.start()
        try:
            assert service.tenant(served).code == served
            assert code_of(service, refused) == "tenant_forbidden"
        finally:
            await service.stop()


async def test_a_server_too_small_for_all_replicas_is_told_of_at_the_start(own: Settings) -> None:
    for replicas, told in ((1, False), (50, True)):
        settings = own.model_copy(update={"replicas": replicas, "connections": 4})
        service = Service(Blueprint("members", {}, ()), settings, Metrics(CollectorRegistry(), "members"))
        await service.start()
        try:
            [check] = [one for one in service.checks() if one.name == "connections"]
            assert (check.ok, "raise max_connections by" in check.detail) == (True, told)
        finally:
            await service.stop()


async def test_while_the_directory_can_not_be_read_nobody_is_told_that_a_tenant_is_not_there(
    settings: Settings,
) -> None:
    lost = settings.model_copy(update={"control_database": "pointbank_test_nowhere"})
    service = Service(Blueprint("members", {}, ()), lost, Metrics(CollectorRegistry(), "members"))
    assert code_of(service, "acme") == "tenant_unavailable"
    await service.start()
    try:
        assert code_of(service, "acme") == "tenant_unavailable"
    finally:
        await service.stop()


async def test_a_process_that_follows_its_directory_no_more_is_to_be_restarted(own: Settings) -> None:
    """It would serve whom it serves, whatever becomes of them, and call everybody well."""
    service = Service(Blueprint("members", {}, ()), own, Metrics(CollectorRegistry(), "members"))
    await service.start()
    try:
        assert lives(service.checks())
        assert service._following is not None
        await end([service._following])
        assert not lives(service.checks())
        assert unready_of(service) == {"task:directory": "has ended"}
    finally:
        await service.stop()


async def test_a_tenant_that_can_not_be_opened_is_told_of_and_the_others_are_served(own: Settings) -> None:
    well, ill = f"t{secrets.token_hex(4)}", f"t{secrets.token_hex(4)}"
    await create_tenant(own, well)
    await create_tenant(own, ill)
    admin = await connect(own.admin_dsn())
    await admin.execute(f"ALTER ROLE {role_of(ill, 'members')} NOLOGIN")
    await admin.close()
    metrics = Metrics(CollectorRegistry(), "members")
    service = Service(Blueprint("members", {}, ()), own, metrics)
    await service.start()
    try:
        while list(troubles := {check.name: check.detail for check in service.checks() if not check.ok}) != [
            f"tenant:{ill}"
        ]:
            await asyncio.sleep(0.02)  # the other's relay begins
        assert "not permitted to log in" in troubles[f"tenant:{ill}"]
        assert serves(service.checks())
        assert service.tenant(well).code == well
        while unready(metrics, ill) != 1.0:  # counted each second
            await asyncio.sleep(0.05)
        assert unready(metrics, well) == 0.0
    finally:
        await service.stop()


async def test_a_process_goes_on_to_serve_while_its_only_tenant_begins_and_is_not_ready_before_its_first_have(
    own: Settings,
) -> None:
    """Or a tenant that is made, or resumed, would take each replica from the gateway until it is found well again."""
    tenant = f"t{secrets.token_hex(4)}"
    patient = own.model_copy(
        update={"rest_after_s": 0, "lock_timeout_ms": 60_000, "statement_timeout_ms": 60_000}
    )
    metrics = Metrics(CollectorRegistry(), "members")
    service, newer = [
        Service(Blueprint("members", {}, ()), patient, each)
        for each in (metrics, Metrics(CollectorRegistry(), "members"))
    ]
    await service.start()
    try:
        assert serves(service.checks()), "nobody is there to be served yet"
        await create_tenant(own, tenant)
        await until(lambda: well(service, tenant))
        await suspend(own, tenant, within_s=30)
        async with locked(own, tenant, "members.cuts"):
            await resume(own, tenant)
            await until(lambda: unready(metrics, tenant) == 1.0)
            assert unready_of(service) == {f"relay:{tenant}": "not started"}
            assert serves(service.checks())
            await newer.start()
            assert not serves(newer.checks())
        for each in (service, newer):
            await until(partial(well, each, tenant))
            assert serves(each.checks())
    finally:
        await newer.stop()
        await service.stop()


@asynccontextmanager
async def locked(settings: Settings, tenant: str, table: str) -> AsyncIterator[None]:
    """Within, nobody gets at a table: what begins with it takes as long."""
    db = await connect(dsn_for(settings, database_of(tenant)))
    try:
        await db.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        await db.close()


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def well(service: Service, tenant: str) -> bool:
    """Whether the tenant is served, and nothing is wrong."""
    checks = service.checks()
    return any(check.tenant == tenant for check in checks) and all(check.ok for check in checks)


def unready_of(service: Service) -> dict[str, str]:
    return {check.name: check.detail for check in service.checks() if not check.ok}


def unready(metrics: Metrics, tenant: str) -> float | None:
    return metrics.registry.get_sample_value(
        "pointbank_tenant_unready", {"service": "members", "tenant": tenant}
    )


def code_of(service: Service, tenant: str) -> Any:
    with pytest.raises(Refusal) as refused:
        service.tenant(tenant)
    return refused.value.code
