"""What is done to a running town. Each fault takes a while, and is over when its function returns.

A name in `FAULTS` is what a run prints; the dice that a fault is given decide the rest, so that a seed replays it.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.messaging.keys import HEARERS, SERVICES, Keys
from tests.faults.conftest import World
from tests.soak.points import POINTS, arm
from tests.soak.wire import Trouble, Wire
from tests.support.desk import SOURCE
from tests.support.town import Town, Trade

TAKEN_WITHIN_S = 10.0
"""So long a process has to come by a point where it is to die; some are passed by nobody at the moment."""


@dataclass
class Field:
    """Where the nemesis acts."""

    world: World
    town: Town
    trade: Trade
    wires: dict[str, Wire]
    points: Path
    dice: random.Random

    @property
    def keys(self) -> Keys:
        return Keys("main", self.town.tenant)

    def redis(self) -> Any:
        """A connection of the administrator, past the wire."""
        return Redis.from_url(self.world.valkey.url)

    async def admin(self, database: str = "postgres") -> asyncpg.Connection[asyncpg.Record]:
        """The same, to PostgreSQL."""
        return await asyncpg.connect(self.world.postgres.dsn, database=database)

    def victim(self) -> str:
        """Some process."""
        return self.dice.choice(sorted(self.world.fleet.replicas))

    async def pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self.dice.uniform(least, most))


Fault = Callable[[Field], Coroutine[Any, Any, str | None]]


async def heal(world: World, wires: dict[str, Wire]) -> None:
    """Takes back what a fault that was cut short has left: the next run begins with everything whole."""
    for wire in wires.values():
        wire.trouble = "none"
    for replica in world.fleet.replicas.values():
        if replica.process.poll() is None:
            replica.process.send_signal(signal.SIGCONT)
    world.mend()
    administrator: Any = Redis.from_url(world.valkey.url)
    async with administrator as redis:
        await redis.execute_command("REPLICAOF", "NO", "ONE")
        await redis.config_set("maxmemory", "0")


# ---- processes


async def _killed(field: Field) -> str:
    name = field.victim()
    field.world.fleet.kill(name)
    await field.pause(0.0, 1.5)
    await asyncio.to_thread(field.world.fleet.start, name)
    return name


async def _all_of_a_service_killed(field: Field) -> str:
    service = field.dice.choice(SERVICES)
    names = sorted(one.name for one in field.world.fleet.of(service))
    for name in names:
        field.world.fleet.kill(name)
    await field.pause(0.0, 1.5)
    for name in names:
        await asyncio.to_thread(field.world.fleet.start, name)
    return service


async def _paused(field: Field) -> str:
    """SIGSTOP: it holds its locks, its lease and its cut, and comes back as if nothing had been."""
    name = field.victim()
    process = field.world.fleet.replicas[name].process
    process.send_signal(signal.SIGSTOP)
    await field.pause(0.5, 6.0)
    process.send_signal(signal.SIGCONT)
    return name


async def _told_to_stop(field: Field) -> str:
    name = field.victim()
    code = await asyncio.to_thread(field.world.fleet.stop, name)
    assert code in {0, -signal.SIGTERM}, (
        name,
        code,
    )  # uvicorn stops in order, then ends by the signal that it was sent
    await asyncio.to_thread(field.world.fleet.start, name)
    return name


async def _dies_at_a_point(field: Field) -> str:
    point = field.dice.choice(sorted(POINTS))
    service = field.dice.choice(SERVICES)
    asked = arm(field.points, service, point)
    names = sorted(one.name for one in field.world.fleet.of(service))
    with field.world.fleet.supervised(*names):
        for _ in range(int(TAKEN_WITHIN_S / 0.05)):
            if not asked.exists():
                break
            await asyncio.sleep(0.05)
        taken = not asked.exists()
        asked.unlink(missing_ok=True)
        await asyncio.sleep(0.2)  # the supervisor starts it again
    return f"{service} {point}" + ("" if taken else " (nobody came by)")


# ---- PostgreSQL


async def _postgres_killed(field: Field) -> None:
    field.world.postgres.kill()
    await field.pause(0.0, 2.0)
    await asyncio.to_thread(field.world.postgres.start)


async def _postgres_restarted(field: Field) -> None:
    await asyncio.to_thread(field.world.postgres.restart)


async def _backends_terminated(field: Field) -> None:
    db = await field.admin()
    try:
        for _ in range(field.dice.randint(1, 4)):
            await db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'pb\\_%' AND pid <> pg_backend_pid()"
            )
            await field.pause(0.1, 0.5)
    finally:
        await db.close()


async def _connections_exhausted(field: Field) -> str:
    """Somebody takes every connection that ordinary roles may have, and those of services are broken on top."""
    async with AsyncExitStack() as stack:
        taken = 0
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                db = await field.admin()
                stack.push_async_callback(db.close)
                taken += 1
        await field.pause(1.0, 3.0)
    return f"{taken} taken"


async def _idle_transaction(field: Field) -> None:
    """Somebody's transaction stays open, with a snapshot and an id: the horizon stands still."""
    db = await field.admin(f"pb_{field.town.tenant}")
    try:
        async with db.transaction(isolation="repeatable_read"):
            await db.execute("CREATE TEMPORARY TABLE mine (n int)")
            await db.fetchval("SELECT count(*) FROM redeem.wallets")
            await field.pause(3.0, 8.0)
    finally:
        await db.close()


async def _wallets_locked(field: Field) -> None:
    """Somebody's hand-made transaction holds the rows of half the wallets."""
    db = await field.admin(f"pb_{field.town.tenant}")
    try:
        async with db.transaction():
            await db.fetch(
                "SELECT 1 FROM redeem.wallets WHERE hashtext(wallet_id::text) % 2 = 0 FOR NO KEY UPDATE"
            )
            await field.pause(1.0, 5.0)
    finally:
        await db.close()


# ---- Redis


async def _redis_killed(field: Field) -> None:
    field.world.valkey.kill()
    await field.pause(0.0, 1.5)
    await asyncio.to_thread(field.world.valkey.start)


async def _redis_emptied(field: Field) -> None:
    field.world.valkey.kill()
    await asyncio.to_thread(lambda: field.world.valkey.start(empty=True))


async def _redis_flushed(field: Field) -> None:
    async with field.redis() as redis:
        await redis.flushall()


async def _redis_from_an_older_file(field: Field) -> None:
    """Restored from a copy of its append-only file that is some seconds old."""
    data, copy = field.world.valkey.data / "appendonlydir", field.world.valkey.data / "older"
    shutil.rmtree(copy, ignore_errors=True)
    await asyncio.to_thread(shutil.copytree, data, copy)
    await field.pause(1.0, 3.0)
    field.world.valkey.kill()
    shutil.rmtree(data)
    copy.rename(data)
    await asyncio.to_thread(field.world.valkey.start)


async def _redis_read_only(field: Field) -> None:
    async with field.redis() as redis:
        await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        await field.pause(1.0, 4.0)
        await redis.execute_command("REPLICAOF", "NO", "ONE")


async def _redis_full(field: Field) -> None:
    """No memory is left, and nothing may be evicted."""
    async with field.redis() as redis:
        await redis.config_set("maxmemory", "1mb")
        await field.pause(1.0, 4.0)
        await redis.config_set("maxmemory", "0")


async def _a_rogue_entry(field: Field) -> str:
    """Somebody with the administrator's password adds to a service's stream by hand: dense ids are blocked."""
    service = field.dice.choice([service for service in SERVICES if HEARERS.get(service)])
    async with field.redis() as redis:
        await redis.xadd(field.keys.stream(service), {"event": b"{}"})
    return service


async def _a_group_destroyed(field: Field) -> str:
    pairs = [("pos", "earn"), *((stream, group) for stream in SERVICES for group in HEARERS.get(stream, ()))]
    stream, group = field.dice.choice(pairs)
    async with field.redis() as redis:
        with suppress(RedisError):  # the stream may not be there yet
            await redis.xgroup_destroy(
                field.keys.pos if stream == "pos" else field.keys.stream(stream), group
            )
    return f"{group} of {stream}"


# ---- the network


async def _wire(field: Field, trouble: Trouble) -> str:
    name = field.dice.choice(sorted(field.wires))
    wire = field.wires[name]
    wire.delay_s = field.dice.uniform(0.01, 0.15)
    wire.trouble = trouble
    await field.pause(1.0, 4.0)
    wire.trouble = "none"
    if trouble in ("black hole", "half open"):
        wire.reset()  # what was swallowed is lost: the rest of such a connection means nothing
    return name


async def _slow_network(field: Field) -> str:
    return await _wire(field, "slow")


async def _black_hole(field: Field) -> str:
    return await _wire(field, "black hole")


async def _half_open(field: Field) -> str:
    return await _wire(field, "half open")


async def _connections_reset(field: Field) -> str:
    name = field.dice.choice(sorted(field.wires))
    for _ in range(field.dice.randint(1, 4)):
        field.wires[name].reset()
        await field.pause(0.05, 0.5)
    return name


# ---- what comes in


async def _repeated_and_shuffled(field: Field) -> str:
    """A till that has lost its memory offers again what it offered, in any order."""
    bills = field.town.bills(60)
    offers = [field.town.offer(bill) for bill in [*bills, *field.dice.sample(bills, 20)]]
    field.dice.shuffle(offers)
    for start in range(0, len(offers), 20):
        await field.trade.till.offer(offers[start : start + 20])
    return f"{len(offers)} offers of {len(bills)} bills"


async def _poison(field: Field) -> str:
    kinds = [b"not an event", b"\xff\xfe", b'{"specversion": "1.0"}', b"[" * 5_000]
    many = field.dice.randint(1, 6)
    for _ in range(many):
        await field.trade.till.place(field.dice.choice(kinds), source=SOURCE)
        await field.trade.till.offer([field.town.offer(bill) for bill in field.town.bills(5)])
    return f"{many} entries"


FAULTS: dict[str, Fault] = {
    "a process is killed": _killed,
    "all processes of a service are killed": _all_of_a_service_killed,
    "a process is paused": _paused,
    "a process is told to stop": _told_to_stop,
    "a process dies at a point": _dies_at_a_point,
    "PostgreSQL is killed": _postgres_killed,
    "PostgreSQL is restarted": _postgres_restarted,
    "backends are terminated": _backends_terminated,
    "connections are exhausted": _connections_exhausted,
    "an idle transaction": _idle_transaction,
    "wallets are locked": _wallets_locked,
    "Redis is killed": _redis_killed,
    "Redis is emptied": _redis_emptied,
    "Redis is flushed": _redis_flushed,
    "Redis comes from an older file": _redis_from_an_older_file,
    "Redis is read-only": _redis_read_only,
    "Redis is full": _redis_full,
    "a rogue entry": _a_rogue_entry,
    "a group is destroyed": _a_group_destroyed,
    "the network is slow": _slow_network,
    "a black hole": _black_hole,
    "half-open connections": _half_open,
    "connections are reset": _connections_reset,
    "input repeated and shuffled": _repeated_and_shuffled,
    "poison": _poison,
}
