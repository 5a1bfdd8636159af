"""Turns: every side does the same, one after the other, time and again; what is told is the median of each."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median

from bench.sides import Accrues, Numbers, Pick, Redeems

BATCHES = (1, 100, 500)
CONCURRENCIES = (1, 16, 64)
TURNS = 3
POSTINGS = {1: 400, 100: 4_000, 500: 10_000}
"""How many of each batch size in a turn."""
CALLS = {1: 700, 16: 1_200, 64: 3_584}
"""Redemptions at each concurrency in a turn; each connection makes as many."""
WARM_UP = 200
"""Redemptions at least before the first turn, and six by each connection: PostgreSQL plans the first five anew."""


class Turns:
    """What was found, turn by turn."""

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = {}

    def note(self, name: str, value: float) -> None:
        """One more of these."""
        self._found.setdefault(name, []).append(value)

    def medians(self) -> Numbers:
        """The median of each."""
        return {name: median(values) for name, values in self._found.items()}


async def accruals(
    sides: Sequence[Accrues], picks: Mapping[str, Pick], *, rest: Callable[[], Awaitable[None]], seed: int
) -> Numbers:
    """Batches of each size, the same members for all sides; `rest` comes before each size."""
    turns = Turns()
    for turn in range(TURNS):
        for name, pick in picks.items():
            for size in BATCHES:
                rng = random.Random(seed + turn)
                drawn = [pick(rng, size) for _ in range(POSTINGS[size] // size)]
                await rest()
                for side in sides:
                    turns.note(f"{side.accruals}_{size}_{name}", await side.accrue(drawn))
    return turns.medians()


async def redemptions(
    sides: Sequence[Redeems], picks: Mapping[str, Pick], *, rest: Callable[[], Awaitable[None]], seed: int
) -> Numbers:
    """Calls at each concurrency; `rest` comes before each round of the sides."""
    turns = Turns()
    for side in sides:
        await _warm_up(side, next(iter(picks.values())), seed=seed)
    for turn in range(TURNS):
        for name, pick in picks.items():
            await rest()
            for side in sides:
                for concurrency in CONCURRENCIES:
                    found = await side.redeem(
                        pick, concurrency=concurrency, calls=CALLS[concurrency], seed=seed + turn
                    )
                    for what, value in found.items():
                        turns.note(f"{side.redemption}{what}_{concurrency}_{name}", value)
    return turns.medians()


async def _warm_up(side: Redeems, pick: Pick, *, seed: int) -> None:
    for concurrency in CONCURRENCIES:
        await side.redeem(
            pick, concurrency=concurrency, calls=max(WARM_UP // concurrency + 1, 6) * concurrency, seed=seed
        )
