"""A lease is renewed while something is held for long, and only then."""

import asyncio

from redis.exceptions import ConnectionError as RedisConnectionError

from shared.config import Settings
from shared.messaging.lease import Lease
from shared.runtime import RECLAIM_EVERY_S

LEASE_S = 0.03


class Renewals:
    def __init__(self, *, fails: int = 0) -> None:
        self.count, self._fails = 0, fails

    async def __call__(self) -> None:
        self.count += 1
        if self.count <= self._fails:
            raise RedisConnectionError("away")


async def test_what_is_held_for_less_than_a_third_costs_no_renewal() -> None:
    renewals = Renewals()
    lease = Lease(LEASE_S, renewals)
    for _ in range(20):
        with lease.held():
            await asyncio.sleep(0)
    await asyncio.sleep(LEASE_S)
    assert renewals.count == 0


async def test_it_is_renewed_every_third_whatever_fails_until_it_is_given_back() -> None:
    renewals = Renewals(fails=2)
    with Lease(LEASE_S, renewals).held():
        async with asyncio.timeout(5):
            while renewals.count < 5:
                await asyncio.sleep(LEASE_S / 3)
    then = renewals.count
    await asyncio.sleep(LEASE_S)
    assert renewals.count == then


async def test_who_gets_nowhere_renews_no_more() -> None:
    renewals = Renewals()
    with Lease(LEASE_S, renewals, at_most_s=2 * LEASE_S).held():
        await asyncio.sleep(6 * LEASE_S)
    assert 1 <= renewals.count <= 6, "twice three: else there were eighteen"


async def test_who_gets_on_is_not_at_its_end() -> None:
    renewals = Renewals()
    with Lease(LEASE_S, renewals, at_most_s=2 * LEASE_S).held() as went_on:
        async with asyncio.timeout(10):
            while renewals.count < 9:
                went_on()
                await asyncio.sleep(LEASE_S / 6)


def test_as_shipped_what_a_dead_process_holds_is_found_with_time_left_to_write_it() -> None:
    """The bound of a take-over is ten seconds (docs/under-fire.md)."""
    assert Settings().reclaim_idle_ms / 1000 + RECLAIM_EVERY_S <= 7.0
