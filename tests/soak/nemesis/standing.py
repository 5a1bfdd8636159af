"""A server stands still with all that it holds, and goes on as if nothing had been: nobody is told, no connection ends."""

from __future__ import annotations

import time

from pointbank.embedded.process import Child
from tests.soak.nemesis.field import Fault, Field, Missed
from tests.soak.standstill import standing_still

TRIED_S = 6.0
"""So long it waits for a moment at which somebody has entries in hand."""
SHORT_S, LONG_S = (2.0, 6.0), (10.0, 20.0)


def _child(field: Field, name: str) -> Child:
    server = field.arena.world.postgres if name == "PostgreSQL" else field.arena.world.valkey
    assert server.child is not None, name
    return server.child


async def _stands_still(field: Field, name: str) -> str:
    """At a moment at which entries are read and not acknowledged; one in four stands still for longer than any lease."""
    child = _child(field, name)
    least, most = LONG_S if field.dice.random() < 0.25 else SHORT_S
    async with field.redis() as redis:
        deadline = time.monotonic() + TRIED_S
        while not (pending := await field.unacknowledged(redis)):
            if time.monotonic() > deadline:
                raise Missed("nobody had entries in hand")
        with standing_still(child) as processes:
            lasted = await field.pause(least, most)
            field.met["entries in hand"] += pending
            field.met["calls open"] += len(field.fleet.gateway.open_calls())
            field.met["tills asking"] += field.arena.tills.asking
    return f"{processes} processes, for {lasted:.0f} s"


async def postgres_stands_still(field: Field) -> str:
    """The postmaster and every backend: statements hang, locks are held, newcomers are accepted by nobody but the kernel."""
    return await _stands_still(field, "PostgreSQL")


async def redis_stands_still(field: Field) -> str:
    return await _stands_still(field, "Redis")


FAULTS: dict[str, Fault] = {
    "PostgreSQL stands still": postgres_stands_still,
    "Redis stands still": redis_stands_still,
}
