"""Turns: every side does the same, one after the other, time and again; what is told is the median of each.

What is held against a goal is the median of each turn's own ratio: within a turn the machine is as fast for all."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median

from bench.sides import Accrues, Numbers, Pick, Redeems

BATCHES = (1, 100, 500)
CONCURRENCIES = (1, 16, 64)
TURNS = 5
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

    def ratio(self, name: str, to: str) -> float:
        """The median of what each turn found of the one over what it found of the other."""
        return median(one / other for one, other in zip(self._found[name], self._found[to], strict=True))


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
    ratios = {
        f"accruals_500_over_pgledger_{name}": turns.ratio(f"accruals_500_{name}", f"pgledger_500_{name}")
        for name in picks
    }
    return turns.medians() | ratios


async def redemptions(
    sides: Sequence[Redeems], picks: Mapping[str, Pick], *, rest: Callable[[], Awaitable[None]], seed: int
) -> Numbers:
    """Calls at each concurrency; `rest` comes before each round of the sides."""
    turns = Turns()
    for side in sides:
        await _warm_up(side, next(iter(picks.values())), seed=seed)
    for turn in range(TURNS):
        for name, pick in picks.items():
            for concurrency in CONCURRENCIES:
                await rest()
                for side in sides:
                    found = await side.redeem(
                        pick, concurrency=concurrency, calls=CALLS[concurrency], seed=seed + turn
                    )
                    for what, value in found.items():
                        turns.note(f"{side.redemption}{what}_{concurrency}_{name}", value)
    ratios = {}
    for name in picks:
        ratios[f"redemptions_c64_over_pgledger_{name}"] = turns.ratio(
            f"redemptions_64_{name}", f"pgledger_redemptions_1_{name}"
        )
        ratios[f"redemption_p50_c1_over_bare_{name}"] = turns.ratio(
            f"redemption_p50_ms_1_{name}", f"bare_redemption_p50_ms_1_{name}"
        )
    return turns.medians() | ratios


async def _warm_up(side: Redeems, pick: Pick, *, seed: int) -> None:
    for concurrency in CONCURRENCIES:
        await side.redeem(
            pick, concurrency=concurrency, calls=max(WARM_UP // concurrency + 1, 6) * concurrency, seed=seed
        )
