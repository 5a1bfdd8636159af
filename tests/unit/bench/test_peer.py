"""What `python -m bench.peer` makes of its numbers, and how its calls are shared out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from rich.console import Console

from bench.sides import Numbers, Pick
from bench.sides.shown import tables, with_ratios
from bench.sides.turns import CALLS, POSTINGS, Turns, accruals, redemptions
from bench.timing import at_once


class Told:
    """A side that is as fast as it is said to be, and notes what it is asked."""

    def __init__(self, name: str, *, accruals_s: float, redemptions_s: float) -> None:
        self.accruals = name or "accruals"
        self.redemption = f"{name}_redemption".lstrip("_")
        self._accruals_s, self._redemptions_s = accruals_s, redemptions_s
        self.drawn: list[list[list[int]]] = []
        self.asked: list[tuple[int, int]] = []

    async def accrue(self, drawn: Sequence[list[int]]) -> float:
        self.drawn.append(list(drawn))
        return self._accruals_s

    async def redeem(self, pick: Pick, *, concurrency: int, calls: int, seed: int) -> Numbers:
        self.asked.append((concurrency, calls))
        found = {"s": self._redemptions_s * concurrency, "_p50_ms": 1000 / self._redemptions_s}
        return found if self.redemption != "redemption" else found | {"_server_us": 250.0}


PICKS: dict[str, Pick] = {
    "uniform": lambda rng, n: [rng.randrange(9) for _ in range(n)],
    "zipf": lambda rng, n: [0] * n,
}


async def no_rest() -> None:
    """Nobody is awaited."""


async def measured(*sides: Told) -> Numbers:
    found = await accruals(sides, PICKS, rest=no_rest, seed=1)
    return with_ratios(found | await redemptions(sides, PICKS, rest=no_rest, seed=1))


def three() -> tuple[Told, Told, Told]:
    return (
        Told("pgledger", accruals_s=5_000, redemptions_s=1_000),
        Told("bare", accruals_s=40_000, redemptions_s=2_000),
        Told("", accruals_s=11_000, redemptions_s=500),
    )


async def test_every_side_does_the_same_accruals_and_as_many_redemptions() -> None:
    sides = three()
    await measured(*sides)
    peer, bare, bank = sides
    assert peer.drawn == bare.drawn == bank.drawn
    assert [sum(len(batch) for batch in drawn) for drawn in bank.drawn[:3]] == list(POSTINGS.values())
    assert peer.asked == bare.asked == bank.asked
    assert bank.asked[3:6] == list(CALLS.items())
    assert [calls % concurrency for concurrency, calls in bank.asked] == [0] * len(bank.asked)


async def test_each_number_is_told_for_each_side_size_concurrency_and_way_to_draw() -> None:
    found = await measured(*three())
    assert {found[f"bare_{size}_{pick}"] for size in (1, 100, 500) for pick in PICKS} == {40_000}
    assert [found[f"pgledger_redemptions_{c}_zipf"] for c in (1, 16, 64)] == [1_000, 16_000, 64_000]
    assert [found[f"bare_redemption_p50_ms_{c}_uniform"] for c in (1, 16, 64)] == [0.5] * 3
    assert found["redemption_server_us_64_zipf"] == 250


async def test_the_goals_are_held_against_pgledgers_single_call_on_one_connection() -> None:
    found = await measured(*three())
    assert found["accruals_500_over_pgledger"] == pytest.approx(2.2)
    assert found["redemptions_c64_over_pgledger"] == 32
    assert found["redemption_p50_c1_over_bare"] == 4


async def test_a_goal_is_held_against_each_turns_own_ratio() -> None:
    turns = Turns()
    # A machine that halves its speed for a turn or two halves it for both.
    for ours, theirs in ((10.0, 5.0), (6.0, 2.0), (4.0, 2.0)):
        turns.note("ours", ours)
        turns.note("theirs", theirs)
    assert turns.medians() == {"ours": 6, "theirs": 2}
    assert turns.ratio("ours", to="theirs") == 2


async def test_the_names_of_earlier_runs_are_still_told() -> None:
    found = await measured(*three())
    assert found["pgledger_single_uniform"] == found["pgledger_single_zipf"] == 1_000
    assert (found["bare_redemptions"], found["bare_redemption_p50_ms"]) == (2_000, 0.5)


async def test_the_tables_fit_eighty_columns_and_have_the_sides_beside_one_another() -> None:
    console = Console(width=80)
    with console.capture() as shown:
        console.print(tables(await measured(*three())))
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.get().splitlines()]
    assert ["500", "zipf", "5,000", "40,000", "11,000", "2.20", "0.28"] in cells
    assert ["64", "uniform", "64,000", "128,000", "32,000", "32.00", "0.25"] in cells
    assert ["1", "zipf", "1.00", "0.50", "2.00", "4.00", "250"] in cells
    assert ["redemption_p50_c1_over_bare_zipf", "4.00", "5 at most"] in cells


async def test_connections_share_what_is_asked_and_all_of_them_begin_at_once() -> None:
    met = asyncio.Barrier(3)
    done: dict[str, list[int]] = {"a": [], "b": [], "c": []}

    async def call(connection: str, one: int) -> None:
        async with asyncio.timeout(5), met:
            done[connection].append(one)

    timed = await at_once(["a", "b", "c"], list(range(6)), call)
    assert done == {"a": [0, 3], "b": [1, 4], "c": [2, 5]}
    assert timed.rate > 0
    assert timed.p50_ms > 0


async def test_a_call_that_fails_ends_the_run_with_its_error() -> None:
    async def call(connection: str, one: int) -> None:
        raise RuntimeError(f"{connection} was refused {one}")

    with pytest.raises(ExceptionGroup) as raised:
        await at_once(["a"], [7], call)
    assert [str(one) for one in raised.value.exceptions] == ["a was refused 7"]
