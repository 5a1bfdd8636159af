"""What is heard so late that it is kept nowhere any more: not in the stream, not in the memory of what was heard."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from shared.messaging.keys import SERVICES, heard_by
from tests.soak.nemesis.field import Fault, Field, Missed

TRIED_S = 6.0
Entry = tuple[str, bytes]
"""A stream's key, and an id in it."""


async def delayed_past_retention(field: Field) -> str:
    """A service stands still while its streams are trimmed to nothing under it; then it is handed again, from the first, what is
    left and what comes, though it remembers of nothing that it heard it: only its position says so."""
    service = field.dice.choice([one for one in SERVICES if heard_by(one)])
    field.met["entries trimmed"] += await _trimmed(field, service)
    await field.pause(0.2, 1.0)
    db = await field.books()
    try:
        # The oracle knows how much may be forgotten: what was heard comes back when the test of it is over.
        forgotten = await db.fetch(
            f"""
            DELETE FROM {service}.inbox AS i USING {service}.positions AS p
            WHERE p.stream = i.stream AND i.entries << int8range(p.applied_through, NULL)
            RETURNING i.stream, i.entries
            """
        )
        try:
            field.met["entries handed again"] += await _handed_again(field, service)
        finally:
            await db.executemany(
                f"INSERT INTO {service}.inbox (stream, entries) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                [tuple(row) for row in forgotten],
            )
    finally:
        await db.close()
    if not all(field.met.values()):
        raise Missed(f"{service}: {dict(field.met)}")
    return service


async def _trimmed(field: Field, service: str) -> int:
    processes = [one.process for one in field.fleet.of(service)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        await field.pause(1.0, 3.0)
        async with field.redis() as redis:
            names = [field.keys.stream(one) for one in heard_by(service)]
            return sum([int(await redis.xtrim(one, maxlen=0, approximate=False)) for one in names])
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


async def _handed_again(field: Field, service: str) -> int:
    """How many entries that its groups had been handed they were handed once more. Both are waited for: an entry is there for a
    moment only, until all have heard it."""
    names = list(map(field.keys.stream, heard_by(service)))
    async with field.redis() as redis:
        had = await _until(lambda: _set_back(redis, names, service))
        await field.pause(0.5, 1.5)
        return len(await _until(lambda: _had_again(redis, had, service)))


async def _until(found: Callable[[], Awaitable[list[Entry]]]) -> list[Entry]:
    deadline = time.monotonic() + TRIED_S
    while not (entries := await found()) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return entries


async def _set_back(redis: Any, names: list[str], group: str) -> list[Entry]:
    """Each group to the beginning; gives what they had been handed of what is there."""
    had: list[Entry] = []
    for name in names:
        with suppress(RedisError):  # the stream may not be there yet
            last = await _last_delivered(redis, name, group)
            ids = [entry for entry, _ in await redis.xrange(name, max=last)]
            if ids:
                await redis.xgroup_setid(name, group, "0")
            had += [(name, entry) for entry in ids]
    return had


async def _had_again(redis: Any, had: list[Entry], group: str) -> list[Entry]:
    last = {name: _place(await _last_delivered(redis, name, group)) for name, _ in had}
    return [(name, entry) for name, entry in had if _place(entry) <= last[name]]


async def _last_delivered(redis: Any, name: str, group: str) -> bytes:
    groups: list[dict[str, Any]] = await redis.xinfo_groups(name)
    return next((one["last-delivered-id"] for one in groups if one["name"] == group.encode()), b"0-0")


def _place(entry: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in entry.split(b"-"))


FAULTS: dict[str, Fault] = {"delayed past retention": delayed_past_retention}
