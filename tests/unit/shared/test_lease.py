"""A lease is renewed while something is held for long, and only then."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.config import Settings
from shared.messaging.lease import Lease
from shared.runtime import RECLAIM_EVERY_S

LEASE_S = 3.0

Passes = Callable[[float], Awaitable[None]]


class Renewals:
    def __init__(self, *, fails: int = 0) -> None:
        self.count, self._fails = 0, fails

    async def __call__(self) -> None:
        self.count += 1
        if self.count <= self._fails:
            raise RedisConnectionError("away")


@pytest.fixture
async def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Turns the clock of the loop: nothing here depends on how fast the machine is."""
    loop, at = asyncio.get_running_loop(), 0.0

    async def turn(seconds: float) -> None:
        nonlocal at
        at += seconds
        for _ in range(5):  # the timer, its task, and what that awaits
            await asyncio.sleep(0)

    monkeypatch.setattr(loop, "time", lambda: at)
    return turn


async def test_what_is_held_for_less_than_a_third_costs_no_renewal(passes: Passes) -> None:
    renewals = Renewals()
    lease = Lease(LEASE_S, renewals)
    for _ in range(20):
        with lease.held():
            await passes(LEASE_S / 4)
    await passes(LEASE_S)
    assert renewals.count == 0


async def test_it_is_renewed_every_third_whatever_fails_until_it_is_given_back(passes: Passes) -> None:
    renewals = Renewals(fails=2)
    with Lease(LEASE_S, renewals).held():
        for count in range(1, 6):
            await passes(LEASE_S / 3)
            assert renewals.count == count
    await passes(LEASE_S)
    assert renewals.count == 5


async def test_who_gets_nowhere_renews_no_more(passes: Passes) -> None:
    renewals = Renewals()
    with Lease(LEASE_S, renewals, at_most_s=2 * LEASE_S).held():
        for _ in range(18):
            await passes(LEASE_S / 3)
    assert renewals.count == 4, "the fifth would last to the end of six thirds"


async def test_who_gets_on_is_not_at_its_end(passes: Passes) -> None:
    renewals = Renewals()
    with Lease(LEASE_S, renewals, at_most_s=2 * LEASE_S).held() as went_on:
        for _ in range(9):
            went_on()
            await passes(LEASE_S / 3)
    assert renewals.count == 9


def test_as_shipped_what_a_dead_process_holds_is_found_with_time_left_to_write_it() -> None:
    """The bound of a take-over is ten seconds (docs/under-fire.md)."""
    assert Settings().reclaim_idle_ms / 1000 + RECLAIM_EVERY_S <= 7.0
