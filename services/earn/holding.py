"""The job that releases held points on their days."""

from __future__ import annotations

from services.earn.domain.hold import ReleaseDue
from services.earn.store import holds
from shared.runtime import TenantRuntime

POLL_S = 5.0
"""Points that a day releases come so much after its beginning, at the latest."""


async def release_held_points(runtime: TenantRuntime) -> None:
    """Asks for what is due, some hundred bills in a transaction, until nothing is."""
    while True:
        async with runtime.read() as db:
            due = await holds.due_bills(db, runtime.clock(), most=1)
        if not due:
            return
        await runtime.do(ReleaseDue(), job="holds")
