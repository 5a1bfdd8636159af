"""Redis dies, forgets, refuses, and is written to by hand."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress

from redis.exceptions import RedisError

from shared.messaging.keys import HEARERS, SERVICES
from tests.soak.nemesis.field import Fault, Field
from tests.soak.nemesis.refusals import added, clients, entries, redis_refusing


async def redis_killed(field: Field) -> None:
    field.met["connections broken"] += await clients(field)
    field.arena.world.valkey.kill()
    await field.pause(0.0, 1.5)
    await asyncio.to_thread(field.arena.world.valkey.start)


async def redis_emptied(field: Field) -> None:
    field.met["entries gone"] += await entries(field)
    field.arena.world.valkey.kill()
    await asyncio.to_thread(lambda: field.arena.world.valkey.start(empty=True))


async def redis_flushed(field: Field) -> None:
    field.met["entries gone"] += await entries(field)
    async with field.redis() as redis:
        await redis.flushall()


async def redis_from_an_older_file(field: Field) -> None:
    """Restored from a copy of its append-only file that is some seconds old."""
    data, copy = field.arena.world.valkey.data / "appendonlydir", field.arena.world.valkey.data / "older"
    shutil.rmtree(copy, ignore_errors=True)
    await asyncio.to_thread(shutil.copytree, data, copy)
    had = await added(field)
    await field.pause(1.0, 3.0)
    field.met["entries lost"] += await added(field) - had
    field.arena.world.valkey.kill()
    shutil.rmtree(data)
    copy.rename(data)
    await asyncio.to_thread(field.arena.world.valkey.start)


async def redis_read_only(field: Field) -> None:
    async with field.redis() as redis:
        async with redis_refusing(field, "READONLY"):
            await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
            await field.pause(1.0, 4.0)
        await redis.execute_command("REPLICAOF", "NO", "ONE")


async def redis_full(field: Field) -> None:
    """No memory is left, and nothing may be evicted."""
    async with field.redis() as redis:
        async with redis_refusing(field, "OOM"):
            await redis.config_set("maxmemory", "1mb")
            await field.pause(1.0, 4.0)
        await redis.config_set("maxmemory", "0")


async def a_rogue_entry(field: Field) -> str:
    """Somebody with the administrator's password adds to a service's stream by hand: dense ids are blocked."""
    service = field.dice.choice([service for service in SERVICES if HEARERS.get(service)])
    async with field.redis() as redis:
        await redis.xadd(field.keys.stream(service), {"event": b"{}"})
    return service


async def a_group_destroyed(field: Field) -> str:
    pairs = [("pos", "earn"), *((stream, group) for stream in SERVICES for group in HEARERS.get(stream, ()))]
    stream, group = field.dice.choice(pairs)
    name = field.keys.pos if stream == "pos" else field.keys.stream(stream)
    async with field.redis() as redis:
        with suppress(RedisError):  # the stream may not be there yet
            pending = int((await redis.xpending(name, group))["pending"])
            await redis.xgroup_destroy(name, group)
            field.met["entries in hand"] += pending
    return f"{group} of {stream}"


FAULTS: dict[str, Fault] = {
    "Redis is killed": redis_killed,
    "Redis is emptied": redis_emptied,
    "Redis is flushed": redis_flushed,
    "Redis comes from an older file": redis_from_an_older_file,
    "Redis is read-only": redis_read_only,
    "Redis is full": redis_full,
    "a rogue entry": a_rogue_entry,
    "a group is destroyed": a_group_destroyed,
}
