"""The network is slow, silent, one-sided, and cut."""

from __future__ import annotations

from tests.soak.nemesis.field import Fault, Field
from tests.soak.wire import Trouble


async def _wire(field: Field, trouble: Trouble) -> str:
    name = field.dice.choice(sorted(field.arena.wires))
    wire = field.arena.wires[name]
    wire.delay_s = field.dice.uniform(0.01, 0.15)
    wire.trouble = trouble
    await field.pause(1.0, 4.0)
    wire.trouble = "none"
    if trouble in ("black hole", "half open"):
        wire.reset()  # what was swallowed is lost: the rest of such a connection means nothing
    return name


async def slow_network(field: Field) -> str:
    return await _wire(field, "slow")


async def black_hole(field: Field) -> str:
    return await _wire(field, "black hole")


async def half_open(field: Field) -> str:
    return await _wire(field, "half open")


async def silent_for_good(field: Field) -> str:
    """No reset: what hangs on such a connection must find it out by itself."""
    name = field.dice.choice(sorted(field.arena.wires))
    field.arena.wires[name].fall_silent()
    await field.pause(1.0, 4.0)
    return name


async def connections_reset(field: Field) -> str:
    name = field.dice.choice(sorted(field.arena.wires))
    for _ in range(field.dice.randint(1, 4)):
        field.arena.wires[name].reset()
        await field.pause(0.05, 0.5)
    return name


FAULTS: dict[str, Fault] = {
    "the network is slow": slow_network,
    "a black hole": black_hole,
    "half-open connections": half_open,
    "connections fall silent for good": silent_for_good,
    "connections are reset": connections_reset,
}
