"""Work that goes on beside other work of the same caller."""

from __future__ import annotations

import asyncio

import pytest

from shared.beside import BREATH, beside, step_by_step


class Broken(Exception):
    pass


async def test_what_goes_on_beside_has_its_turns_between_the_steps_and_has_ended_after_them() -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("begun")
        await asyncio.sleep(0)
        seen.append("ended")

    async with beside(work()):
        await step_by_step([lambda k=k: seen.append(str(k)) for k in range(2 * BREATH)])  # type: ignore[misc]

    assert seen.index("begun") == 0
    assert seen.index("ended") < seen.index(str(2 * BREATH - 1))
    assert [one for one in seen if one.isdigit()] == [str(k) for k in range(2 * BREATH)]


async def test_what_the_work_raises_is_raised_when_the_body_is_left() -> None:
    done: list[str] = []

    async def work() -> None:
        raise Broken

    with pytest.raises(Broken):
        async with beside(work()):
            await step_by_step([lambda: done.append("step")] * (BREATH + 1))

    assert len(done) == BREATH + 1


@pytest.mark.parametrize("work_fails", [False, True])
async def test_where_the_body_raises_the_work_is_ended_first_and_its_own_error_is_not_in_the_way(
    work_fails: bool,
) -> None:
    ended: list[str] = []

    async def work() -> None:
        if work_fails:
            raise KeyError
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    async def caller() -> None:
        async with beside(work()):
            await asyncio.sleep(0)
            raise Broken

    with pytest.raises(Broken):
        await caller()

    assert ended == ([] if work_fails else ["work"])


async def test_who_is_cancelled_while_it_waits_for_the_work_ends_it() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("work")

    async def caller() -> None:
        async with beside(work()):
            pass

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended == ["work"]
