"""A job for every tenant of a cell: one after the other, and one's failure is its own."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shared.config import Settings
from shared.tenants.directory import states_of

T = TypeVar("T")


@dataclass
class Every(Generic[T]):
    """What a job came to, by tenant: `done` its answer, `failed` what kept it from one, `skipped` the state of who isn't active."""

    done: dict[str, T] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


async def for_every(
    settings: Settings,
    part: str,
    run: Callable[[Settings, str], Awaitable[T]],
    *,
    say: Callable[[str], None] | None = None,
) -> Every[T]:
    """Runs it for each active tenant of POINTBANK_CELL, as `part` (a service, or the auditor) finds them in the directory.

    `say` is told each tenant before its turn. Raises only where the directory can't be read.
    """
    states = await states_of(settings, part=part)
    found = Every[T](skipped={code: state for code, state in states.items() if state != "active"})
    # In no order: where a deadline ends a run early, it is not always the same tenants that had no turn.
    turns = [code for code, state in states.items() if state == "active"]
    random.shuffle(turns)
    for code in turns:
        if say is not None:
            say(code)
        try:
            found.done[code] = await run(settings, code)
        except Exception as error:  # noqa: BLE001  # one tenant's failure is its own, and is told
            found.failed[code] = error
    return found
