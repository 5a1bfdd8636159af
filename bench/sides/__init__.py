"""Who takes turns in `python -m bench.peer`: pgledger, bare SQL and the bank, each with its own way to do the same thing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import asyncpg

Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pick = Callable[[random.Random, int], list[int]]
"""Draws so many members, by their positions."""
Numbers = dict[str, float]


class Accrues(Protocol):
    """Points for many members at once. `accruals` is what its numbers begin with."""

    accruals: str

    async def accrue(self, drawn: Sequence[list[int]]) -> float:
        """Postings per second: a call for each of these batches of members, all of one size, one after the other."""
        ...


class Redeems(Protocol):
    """One redemption a call. `redemption` is what its numbers begin with."""

    redemption: str

    async def redeem(self, pick: Pick, *, concurrency: int, calls: int, seed: int) -> Numbers:
        """What was measured of so many calls, so many at a time: per second `s`, in milliseconds `_p50_ms`."""
        ...


async def connections(dsn: str, count: int) -> list[Db]:
    """So many, open: connecting is not measured."""
    opened: list[Any] = [await asyncpg.connect(dsn) for _ in range(count)]
    return opened
