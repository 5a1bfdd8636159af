"""The job that releases held points on their days, and when a bill comes whose activation was told before it."""

from __future__ import annotations

from services.earn.domain.hold import ReleaseDue
from services.earn.handlers.activations import TakeUpActivations
from services.earn.store import activations, holds
from shared.runtime import TenantRuntime

POLL_S = 5.0
"""Points that a day releases come so much after its beginning, at the latest."""


async def release_held_points(runtime: TenantRuntime) -> None:
    """Takes up activations that were told before their bills, then asks for what is due, some hundred bills in a transaction, until
    nothing is."""
    await _take_up_activations(runtime)
    while True:
        async with runtime.read() as db:
            due = await holds.due_bills(db, runtime.clock(), most=1)
        if not due:
            return
        await runtime.do(ReleaseDue(), job="holds")


async def _take_up_activations(runtime: TenantRuntime) -> None:
    while True:
        async with runtime.read() as db:
            if not await activations.any_arrived(db):
                return
        await runtime.do(TakeUpActivations(), job="holds")
