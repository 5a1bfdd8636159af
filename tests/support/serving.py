"""Services in the test's own process, on a directory of the test's own: they follow it as in production."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from shared.config import Settings
from shared.events import MessageDelivered
from shared.metrics import Metrics
from shared.runtime import Blueprint
from shared.service import Service
from shared.tenants import Tenant
from shared.tenants.directory import Directory
from shared.tenants.provision import prepare_control
from tests.support.copies import copy_tenant
from tests.support.patience import PATIENCE_S
from tests.support.speaking import Ears, Say, say


async def own_directory(settings: Settings, **more: Any) -> Settings:
    """Settings of a directory without tenants."""
    name = f"pointbank_test_{secrets.token_hex(4)}"
    made = settings.model_copy(update={"control_database": name, **more})
    await prepare_control(made)
    return made


async def only_tenant(settings: Settings) -> Tenant:
    """Makes the directory's only tenant."""
    await copy_tenant(settings, f"t{secrets.token_hex(4)}")
    directory = Directory(settings, "earn")
    await directory.open()
    try:
        [listed] = await directory.tenants()
    finally:
        await directory.close()
    return listed.tenant


@asynccontextmanager
async def serving(settings: Settings, blueprint: Blueprint) -> AsyncIterator[Service]:
    """A service's process."""
    service = Service(blueprint, settings, Metrics(CollectorRegistry(), blueprint.name))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


def speaker() -> Blueprint:
    """Earn, that says one event for each command."""
    return Blueprint("earn", {Say: say}, ())


def hearer(ears: Ears, name: str = "redeem", **more: Any) -> Blueprint:
    """A service that hears what earn says."""
    return Blueprint(name, {MessageDelivered: ears.hear}, ("earn",), **more)


async def until(so: Callable[[], bool]) -> None:
    """Waits, with patience."""
    async with asyncio.timeout(PATIENCE_S):
        while not so():
            await asyncio.sleep(0.02)


def resting(service: Service, tenant: Tenant) -> bool:
    """Whether the tenant rests in that process, after it was looked at."""
    return tenant.code in service._tending._rests
