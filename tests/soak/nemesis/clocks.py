"""A machine whose clock is wrong: what it says of the time is an hour ahead of everybody else."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from tests.soak.nemesis.field import Fault, Field, Skipped
from tests.support.skew import machine_off

WORKED_S = 10.0
"""So long it may take until it has written something in its time."""

AHEAD = timedelta(hours=1)


async def an_hour_ahead(field: Field) -> str:
    """One process is started anew where it is an hour later, works there for a while, and comes back to the right time."""
    wrong = machine_off(AHEAD)
    if wrong is None:
        raise Skipped("libfaketime is not installed")
    name = field.victim()
    field.traffic.authorisations_may_end = True
    field.fleet.kill(name)
    replica = await asyncio.to_thread(field.fleet.start, name, wrong)
    await asyncio.to_thread(field.fleet.wait_ready, field.town.tenant, names=[name])
    await field.pause(1.5, 3.0)
    deadline = time.monotonic() + WORKED_S
    while not (wrote := await asyncio.to_thread(replica.committed, field.town.tenant)):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    field.met["items written an hour ahead"] += wrote
    field.fleet.kill(name)
    await asyncio.to_thread(field.fleet.start, name)
    return name


FAULTS: dict[str, Fault] = {"a clock is an hour ahead": an_hour_ahead}
