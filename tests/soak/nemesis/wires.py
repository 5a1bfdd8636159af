"""The network between services and servers is slow, silent, one-sided, and cut."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from tests.soak.nemesis.field import Fault, Field, Missed
from tests.soak.wire import Trouble, Wire

TRIED_S = 4.0
"""So long a trouble that nobody has met yet goes on after its time."""


async def stepped_on(field: Field, wire: Wire, trouble: Trouble, who: str) -> str:
    """The trouble lasts for its time, and until somebody has met it; then the wire is whole, and what hung on it breaks."""
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
        raise Missed(f"nobody said anything {who}")
    field.met.update(
        {f"{what} {'lost' if what != 'delayed' else 'pieces'}": n for what, n in wire.met.items()}
    )
    return f"for {lasted:.1f} s, {asked} were asking at its end"


def _some(field: Field) -> tuple[str, Wire]:
    name = field.dice.choice(sorted(field.arena.wires))
    return name, field.arena.wires[name]


async def _trouble(trouble: Trouble, field: Field) -> str:
    name, wire = _some(field)
    return f"{name}, {await stepped_on(field, wire, trouble, f'to {name}')}"


async def silent_for_good(field: Field) -> str:
    """No reset: what hangs on such a connection must find it out by itself."""
    name, wire = _some(field)
    field.met["connections silent"] += wire.fall_silent()
    field.undone()
    await field.pause(1.0, 4.0)
    return name


async def connections_reset(field: Field) -> str:
    name, wire = _some(field)
    for _ in range(field.dice.randint(1, 4)):
        field.met["connections broken"] += wire.reset()
        field.undone()
        await field.pause(0.05, 0.5)
    return name


FAULTS: dict[str, Fault] = {
    "the network is slow": partial(_trouble, "slow"),
    "a black hole": partial(_trouble, "black hole"),
    "half-open connections": partial(_trouble, "half open"),
    "connections fall silent for good": silent_for_good,
    "connections are reset": connections_reset,
}
