"""How long calls of this process take: one batch after the other, or many connections at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

C = TypeVar("C")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Timed:
    """Calls per second of all connections together, and the median of one call."""

    rate: float
    p50_ms: float


async def rate(batches: Sequence[A], post: Callable[[A], Awaitable[object]], *, size: int) -> float:
    """Items per second, one batch of `size` after the other."""
    started = time.perf_counter()
    for batch in batches:
        await post(batch)
    return len(batches) * size / (time.perf_counter() - started)


async def at_once(
    connections: Sequence[C], asked: Sequence[A], call: Callable[[C, A], Awaitable[object]]
) -> Timed:
    """Each connection does its share of what is asked, one call after the other; the first error ends all and is raised."""
    seconds: list[float] = []

    async def do(connection: C, mine: Sequence[A]) -> None:
        for one in mine:
            at = time.perf_counter()
            await call(connection, one)
            seconds.append(time.perf_counter() - at)

    count = len(connections)
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for k, connection in enumerate(connections):
            group.create_task(do(connection, asked[k::count]))
    return Timed(len(seconds) / (time.perf_counter() - started), median(seconds) * 1000)
