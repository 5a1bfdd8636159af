"""The network between who trades and us: tills and Redis, callers and services. What is lost there leaves them not knowing."""

from __future__ import annotations

from functools import partial

from tests.soak.nemesis.field import Fault, Field
from tests.soak.nemesis.wires import stepped_on
from tests.soak.wire import Trouble, Wire

WHO = ("tills and Redis", "callers and services")


def _wire(field: Field, who: str) -> Wire:
    return field.arena.tills if who == WHO[0] else field.arena.callers


async def _trouble(trouble: Trouble, who: str, field: Field) -> str:
    return await stepped_on(field, _wire(field, who), trouble, f"between {who}")


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
