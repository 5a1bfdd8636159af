"""Work that goes on beside other work of the same caller: while PostgreSQL takes rows, Python makes the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from shared.ending import end

NAME = "beside"
"""Of the tasks that this starts."""
BREATH = 20
"""After so many steps the event loop has a turn: a step takes some 20 us, a turn 10."""


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """`work` goes on while the body runs, and has ended when the body is left: by itself, or cancelled where the body raised,
    whose error goes first. Raises what `work` raised. A connection that `work` uses is not the body's to use."""
    task = asyncio.create_task(work, name=NAME)
    try:
        yield
    except BaseException:
        await end([task])
        task.cancelled() or task.exception()  # heard, though the body's goes first
        raise
    await task


async def step_by_step(steps: Iterable[Callable[[], None]]) -> None:
    """Takes the steps in order, and lets what goes on beside them have its turns."""
    for k, step in enumerate(steps):
        if k % BREATH == 0:
            await asyncio.sleep(0)
        step()
