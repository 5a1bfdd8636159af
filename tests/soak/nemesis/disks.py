"""The disk under the servers is full: of what they store, or so that not even PostgreSQL's log has room."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import asyncpg
from redis.exceptions import RedisError

from pointbank.embedded import Postgres, Valkey
from shared.messaging.faults import passing
from tests.soak.arena import Disk
from tests.soak.nemesis.field import Fault, Field, Skipped
from tests.soak.nemesis.refusals import LogSince, Refusals, writes_refused

UP_WITHIN_S = 60.0
SEGMENTS = 12
"""So many segments of the log are begun: recycled ones are there, one more finds no room."""


def _disk(field: Field) -> Disk:
    if isinstance(field.arena.disk, str):
        raise Skipped(field.arena.disk)
    return field.arena.disk


async def full(field: Field) -> str:
    """Tables can't grow, and Redis can't write its file; PostgreSQL's log has what it has reserved."""
    disk = _disk(field)
    log, redis = LogSince(field.arena.world.postgres.log), await Refusals(field, "MISCONF").begin()
    try:
        taken = disk.fill()
        await field.pause(1.0, 3.0)
        if _runs(field.arena.world.valkey):
            field.met["MISCONF answers"] += await redis.met()
    finally:
        disk.free()
    field.undone()
    told = await _up_again(field)
    field.met["writes without room"] += writes_refused(log.text())
    return f"{taken} MB taken; {told}"


async def log_full(field: Field) -> str:
    """The log needs a new segment and there is none: PostgreSQL panics, and can't recover before there is room."""
    disk = _disk(field)
    db = await field.admin()
    try:
        disk.fill()
        try:
            for _ in range(SEGMENTS):
                await db.execute("SELECT pg_switch_wal(), pg_logical_emit_message(true, 'soak', 'x')")
            how = "the log had room"
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            how = type(error).__name__
            field.met["segments without room"] += 1
        await field.pause(0.5, 2.0)
    finally:
        disk.free()
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await db.close(timeout=1)
    return f"{how}; {await _up_again(field)}"


def _runs(server: Postgres | Valkey) -> bool:
    return server.child is not None and server.child.process.poll() is None


async def _up_again(field: Field) -> str:
    """What an operator does once there is room: starts what has given up. Says what that was."""
    world, started = field.arena.world, []
    for _ in range(int(UP_WITHIN_S / 0.05)):
        for name, server in (("PostgreSQL", world.postgres), ("Redis", world.valkey)):
            if not _runs(server):
                field.met["servers that gave up"] += 1
                await asyncio.to_thread(server.start)
                field.undone()
                started.append(name)
        try:
            db = await field.admin()
            await db.close()
            async with field.redis() as redis:
                await redis.set("soak", "written")
            return f"{' and '.join(started) or 'nobody'} had to be started"
        except RedisError:
            pass  # it looks again within a second whether there is room
        except Exception as error:
            if not passing(error):
                raise
        await asyncio.sleep(0.05)
    raise AssertionError("the servers are not back a minute after there was room again")


FAULTS: dict[str, Fault] = {
    "the disk is full": full,
    "the disk is full, the log too": log_full,
}
