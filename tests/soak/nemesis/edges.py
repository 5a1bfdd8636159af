"""The network between who trades and us: tills and Redis, callers and services. What is lost there leaves them not knowing."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from tests.soak.nemesis.field import Fault, Field, Missed
from tests.soak.wire import Trouble, Wire

TRIED_S = 4.0
"""So long a trouble that nobody has met yet goes on after its time."""
WHO = ("tills and Redis", "callers and services")


def _wire(field: Field, who: str) -> Wire:
    return field.arena.tills if who == WHO[0] else field.arena.callers


async def _trouble(trouble: Trouble, who: str, field: Field) -> str:
    """The trouble lasts for its time, and until somebody has met it; then the wire is whole, and what hung on it breaks."""
    wire = _wire(field, who)
    wire.met.clear()
    wire.delay_s = field.dice.uniform(0.01, 0.15)
    wire.trouble = trouble
    try:
        lasted = await field.pause(1.0, 4.0)
        deadline = time.monotonic() + TRIED_S
        while not wire.met and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
    finally:
        asked, wire.trouble = wire.asking, "none"
        if trouble in ("black hole", "half open"):
            wire.reset()  # what was swallowed is lost: the rest of such a connection means nothing
    field.undone()
    if not wire.met:
        raise Missed(f"nobody said anything between {who}")
    field.met.update(
        {f"{what} {'lost' if what != 'delayed' else 'pieces'}": n for what, n in wire.met.items()}
    )
    return f"for {lasted:.1f} s, {asked} were asking at its end"


async def _resets(who: str, field: Field) -> str:
    """Answers are cut off for a while, with their connections; then all connections break at once, a few times."""
    told = await _trouble("cut", who, field)
    for _ in range(field.dice.randint(1, 4)):
        _wire(field, who).reset()
        field.undone()
        await field.pause(0.05, 0.5)
    return told


FAULTS: dict[str, Fault] = {}
for _who in WHO:
    FAULTS[f"a slow network between {_who}"] = partial(_trouble, "slow", _who)
    FAULTS[f"a black hole between {_who}"] = partial(_trouble, "black hole", _who)
    FAULTS[f"half-open connections between {_who}"] = partial(_trouble, "half open", _who)
    FAULTS[f"resets between {_who}"] = partial(_resets, _who)
