"""The job that releases held points on their days, and when a bill comes whose activation was told before it."""

from __future__ import annotations

from uuid import UUID

from services.earn.domain.hold import FROM_THE_FIRST, ReleaseDue
from services.earn.handlers.activations import TakeUpActivations
from services.earn.handlers.hold import AT_ONCE
from services.earn.store import activations, holds
from shared.messaging import Done
from shared.runtime import TenantRuntime

POLL_S = 5.0
"""Points that a day releases come so much after its beginning, at the latest."""


async def release_held_points(runtime: TenantRuntime) -> None:
    """Takes up activations that were told before their bills, then asks for what is due, some hundred bills in a transaction, going
    over each bill once: one of which nothing moves keeps no other from it."""
    await _take_up_activations(runtime)
    after = FROM_THE_FIRST
    while due := await _due(runtime, after):
        await runtime.do(ReleaseDue(after=after), job="holds")
        after = due[-1]


async def _due(runtime: TenantRuntime, after: UUID) -> list[UUID]:
    async with runtime.read() as db:
        return await holds.due_bills(db, runtime.clock(), most=AT_ONCE, after=after)


async def _take_up_activations(runtime: TenantRuntime) -> None:
    while True:
        async with runtime.read() as db:
            if not await activations.any_arrived(db):
                return
        outcome = await runtime.do(TakeUpActivations(), job="holds")
        assert isinstance(outcome, Done), outcome
        if not int(outcome.body):
            return  # another process has them in hand
