"""Releasing reservations from outside of the service: the same handler, lane and role, in a process of its own."""

from __future__ import annotations

from pointbank.desk import open_desk
from services.redeem.jobs.releasing import Progress, Released, release_reservations
from shared.config import Settings


async def release(
    settings: Settings, tenant: str, *, dry_run: bool, progress: Progress | None = None
) -> Released:
    """Releases what is set aside past its time; raises UnknownTenant, NotServed."""
    async with open_desk(settings, tenant) as desk:
        return await release_reservations(desk, dry_run=dry_run, progress=progress)
