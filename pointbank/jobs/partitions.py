"""`pointbank partitions`: the partitions ahead of a tenant's services, each looked at and made with its own role."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pointbank.logins import find_served
from shared.config import Settings
from shared.messaging.keys import SERVICES
from shared.messaging.partitions import Ahead, make_partitions
from shared.runtime import open_tenant_pool

Progress = Callable[[str, Ahead], None]
"""Told of each service when it is done."""


async def partitions_of(
    settings: Settings,
    tenant: str,
    *,
    services: Sequence[str] = SERVICES,
    dry_run: bool,
    progress: Progress | None = None,
) -> dict[str, Ahead]:
    """What is ahead in these services' schemas; raises UnknownTenant, NotServed. A service is a transaction of its own: broken
    off, the next run does the rest."""
    done: dict[str, Ahead] = {}
    for service in services:
        found = await find_served(settings, tenant, service)
        pool = await open_tenant_pool(settings, found, service)
        try:
            done[service] = await make_partitions(pool, dry_run=dry_run)
        finally:
            await pool.close()
        if progress is not None:
            progress(service, done[service])
    return done
