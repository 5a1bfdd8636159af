"""A burst of calls begins a few at a turn of the event loop, in its order."""

import asyncio
import itertools

from shared.http.turnstile import Turnstile


class Calls:
    """Calls through one turnstile, and in which order they began."""

    def __init__(self, few: int) -> None:
        self.turnstile = Turnstile(few)
        self.began: list[int] = []

    async def call(self, number: int) -> None:
        if (turn := self.turnstile.enter()) is not None:
            await turn
        self.began.append(number)


async def test_a_burst_begins_a_few_at_each_turn_and_in_its_order() -> None:
    calls = Calls(few=4)
    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(calls.call(number))
        counts = [0]
        while counts[-1] < 10:
            await asyncio.sleep(0)
            counts.append(len(calls.began))
    assert calls.began == list(range(10))
    assert max(after - before for before, after in itertools.pairwise(counts)) == 4


async def test_who_comes_alone_does_not_wait_however_often() -> None:
    turnstile = Turnstile(few=1)
    for _ in range(5):
        assert turnstile.enter() is None
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_who_comes_while_others_wait_comes_after_them() -> None:
    calls = Calls(few=1)
    first = [asyncio.create_task(calls.call(number)) for number in range(3)]
    await asyncio.sleep(0)
    last = asyncio.create_task(calls.call(3))
    await asyncio.gather(*first, last)
    assert calls.began == [0, 1, 2, 3]


async def test_a_caller_that_leaves_takes_nobodys_turn() -> None:
    calls = Calls(few=1)
    tasks = [asyncio.create_task(calls.call(number)) for number in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert calls.began == [0, 3]
