"""A task that swallows a cancellation is asked again."""

from __future__ import annotations

import asyncio

from shared.ending import end


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if swallowed == 1:
                    raise
                swallowed += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end([task])
    assert (task.cancelled(), swallowed) == (True, 1)


async def test_what_has_ended_is_not_waited_for() -> None:
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await end([done])
    assert not done.cancelled()
