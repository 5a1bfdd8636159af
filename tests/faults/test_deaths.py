"""Whatever dies, at whatever instant, under load: what was acknowledged is there, what was repeated counts once."""

import asyncio
import random

import pytest
from redis import Redis

from shared.messaging.keys import Keys
from tests.faults.conftest import World
from tests.support.moments import Moment, Needs, strike
from tests.support.telling import Tell
from tests.support.town import Load, Town

HEARING = ("earn", "redeem", "tiers", "notifier")


def holding(service: str) -> Needs:
    """The victim itself holds entries that it has not acknowledged; with members, who hear nothing, calls."""

    def needs(moment: Moment) -> object:
        if service not in HEARING:
            return moment.open_calls[service] and moment.unpublished[service]
        return moment.unacknowledged[service]

    return needs


@pytest.mark.parametrize("service", ["earn", "redeem", "members", "tiers", "notifier"])
async def test_a_service_that_is_killed_loses_nothing(
    world: World, town: Town, rng: random.Random, tell: Tell, service: str
) -> None:
    victims = [f"{service}-{number}" for number in (1, 2)]
    rng.shuffle(victims)
    alone = rng.random() < 0.5  # half the time the other one goes on, and takes over; else nobody is left
    if alone:
        victims = victims[:1]
    weights = (2, 2, 5) if service == "members" else (5, 3, 1)

    def kill() -> None:
        for name in victims:
            world.fleet.kill(name)

    async with town.open() as trade, Load(trade, rng, weights=weights).running() as load:
        moment = await strike(world.fleet, town, kill, rng=rng, needs=holding(service))
        tell(f"{' and '.join(victims)} killed with {moment}")
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        for name in victims:
            await asyncio.to_thread(world.fleet.start, name)
        await asyncio.to_thread(world.fleet.wait_ready, town.tenant)
        load.end()
    await town.verified()


async def test_a_postgresql_that_is_killed_keeps_what_was_acknowledged(
    world: World, town: Town, rng: random.Random, tell: Tell
) -> None:
    async with town.open() as trade, Load(trade, rng).running() as load:
        moment = await strike(world.fleet, town, world.postgres.kill, rng=rng)
        tell(f"PostgreSQL killed with {moment}")
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        await asyncio.to_thread(world.postgres.start)
        await asyncio.to_thread(world.fleet.wait_ready, town.tenant)
        load.end()
    await town.verified()


async def test_a_redis_that_is_killed_comes_back_with_what_it_wrote_or_less(
    world: World, town: Town, rng: random.Random, tell: Tell
) -> None:
    async with town.open() as trade, Load(trade, rng).running() as load:
        moment = await strike(world.fleet, town, world.valkey.kill, rng=rng)
        tell(f"Redis killed with {moment}")
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        await asyncio.to_thread(world.valkey.start)
        await asyncio.to_thread(world.fleet.wait_ready, town.tenant)
        load.end()
    await town.verified()


async def test_a_redis_that_comes_back_empty_is_filled_again(
    world: World, town: Town, rng: random.Random, tell: Tell
) -> None:
    async with town.open() as trade, Load(trade, rng).running() as load:
        moment = await strike(world.fleet, town, world.valkey.kill, rng=rng)
        tell(f"Redis killed and emptied with {moment}")
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        await asyncio.to_thread(lambda: world.valkey.start(empty=True))
        await asyncio.to_thread(world.fleet.wait_ready, town.tenant)
        load.end()
    await town.verified()


async def test_a_redis_that_is_flushed_while_entries_are_unread_is_filled_again(
    world: World, town: Town, rng: random.Random, tell: Tell
) -> None:
    def flush() -> None:
        with Redis.from_url(world.valkey.url) as redis:
            redis.flushall()

    async with town.open() as trade, Load(trade, rng).running() as load:
        moment = await strike(world.fleet, town, flush, rng=rng, needs=lambda moment: moment.unread.total())
        tell(f"Redis flushed with {moment}")
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        load.end()
    await town.verified()


@pytest.mark.parametrize(("stream", "group"), [("pos", "earn"), ("earn", "redeem"), ("redeem", "tiers")])
async def test_a_group_that_is_destroyed_is_made_again_where_its_service_stood(
    world: World, town: Town, rng: random.Random, tell: Tell, stream: str, group: str
) -> None:
    keys = Keys("main", town.tenant)

    def destroy() -> None:
        with Redis.from_url(world.valkey.url) as redis:
            assert redis.xgroup_destroy(keys.pos if stream == "pos" else keys.stream(stream), group) == 1

    async with town.open() as trade, Load(trade, rng).running() as load:
        moment = await strike(world.fleet, town, destroy, rng=rng, needs=holding(group))
        tell(f"group {group} of {stream} destroyed with {moment}")
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        load.end()
    await town.verified()
