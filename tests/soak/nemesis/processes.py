"""Processes die, stop and are told to end."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

from shared.messaging.keys import SERVICES
from tests.soak.nemesis.field import Fault, Field, Missed
from tests.soak.nemesis.hands import go_on, stopped_with_something
from tests.soak.points import REACHED, arm

TAKEN_WITHIN_S = 10.0
"""So long a process has to come by a point where it is to die; some are passed by nobody at the moment."""


async def killed(field: Field) -> str:
    name = field.victim()
    await stopped_with_something(field, [name])
    field.fleet.kill(name)
    await field.pause(0.0, 1.5)
    await asyncio.to_thread(field.fleet.start, name)
    return name


async def all_of_a_service_killed(field: Field) -> str:
    service = field.dice.choice(SERVICES)
    names = sorted(one.name for one in field.fleet.of(service))
    await stopped_with_something(field, names)
    for name in names:
        field.fleet.kill(name)
    await field.pause(0.0, 1.5)
    for name in names:
        await asyncio.to_thread(field.fleet.start, name)
    return service


async def paused(field: Field) -> str:
    """SIGSTOP: it holds its locks, its lease and its cut, and comes back as if nothing had been."""
    name = field.victim()
    await stopped_with_something(field, [name])
    await field.pause(0.5, 6.0)
    go_on(field, [name])
    return name


async def told_to_stop(field: Field) -> str:
    name = field.victim()
    await stopped_with_something(field, [name])
    go_on(field, [name])
    code = await asyncio.to_thread(field.fleet.stop, name)
    assert code in {0, -signal.SIGTERM}, (
        name,
        code,
    )  # uvicorn stops in order, then ends by the signal that it was sent
    await asyncio.to_thread(field.fleet.start, name)
    return name


async def dies_at_a_point(field: Field) -> str:
    return await _dies(*field.dice.choice(REACHED), field)


async def _dies(service: str, point: str, field: Field) -> str:
    asked = arm(field.arena.points, service, point)
    names = sorted(one.name for one in field.fleet.of(service))
    with field.fleet.supervised(*names):
        for _ in range(int(TAKEN_WITHIN_S / 0.05)):
            if not asked.exists():
                break
            await asyncio.sleep(0.05)
        taken = not asked.exists()
        asked.unlink(missing_ok=True)
        field.undone()
        await asyncio.sleep(0.2)  # the supervisor starts it again
    if not taken:
        raise Missed(f"nobody came by: {service} {point}")
    return f"{service} {point}"


FAULTS: dict[str, Fault] = {
    "a process is killed": killed,
    "all processes of a service are killed": all_of_a_service_killed,
    "a process is paused": paused,
    "a process is told to stop": told_to_stop,
    "a process dies at a point": dies_at_a_point,
}

AT_POINTS: dict[str, Fault] = {
    f"{service} dies {point}": partial(_dies, service, point) for service, point in REACHED
}
