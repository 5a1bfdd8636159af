"""One blocked read over the streams of every tenant that rests, for a service's process: it says what moves, and takes nothing.

It reads without a group (XREAD): what it sees is delivered to nobody. The consumers of the tenant that it wakes read as ever, from
where their group stands. So a tenant that is awake pays nothing for those that rest, and nothing here can lose an entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.messaging import lowering

BLOCK_MS = 2_000
"""Below the client's socket time-out."""
COUNT = 8
KEPT_HINTS = 1_000
TENANTS = b"tenants"


class Moved(NamedTuple):
    """Streams that have something new, and tenants that somebody asks to wake."""

    streams: set[str]
    tenants: set[str]


def hints_key(cell: str) -> str:
    """The stream by which any process asks all others to wake tenants. It may be lost, and then costs time and nothing else."""
    return f"pb:{{{cell}}}:hints"


async def hint(redis: Redis, cell: str, tenants: Iterable[str]) -> None:
    """Asks the processes of a cell to wake these tenants: something is to be done that they can't see in a stream."""
    fields: Any = {TENANTS: " ".join(tenants)}
    await redis.xadd(hints_key(cell), fields, maxlen=KEPT_HINTS, approximate=True)


async def stands_at(redis: Any, stream: str, group: str) -> str | None:
    """The last id that was handed to a group; None where there is no such group, one of its readers holds something, or the id is
    of no time: what comes after it can't be waited for."""
    try:
        groups = await redis.xinfo_groups(stream)
    except ResponseError:
        return None
    for row in groups:
        if _text(row["name"]) == group:
            last = _text(row["last-delivered-id"])
            return None if row["pending"] or lowering.of_no_time(lowering.entry_id(last)) else last
    return None


class Watch:
    """Streams, with the last id that is known of each."""

    def __init__(self, redis: Redis, cell: str) -> None:
        self._redis: Any = redis
        self._hints = hints_key(cell).encode()
        self._seen: dict[bytes, bytes] = {}
        """As they are written: hundreds are, every two seconds."""
        self._hinted: bytes | None = None
        """The last hint that is known; None before the first."""

    def add(self, streams: Mapping[str, str]) -> None:
        """From the next read on: what comes after these ids."""
        self._seen.update((stream.encode(), at.encode()) for stream, at in streams.items())

    def drop(self, streams: Iterable[str]) -> None:
        """From the next read on they are somebody else's."""
        for stream in streams:
            self._seen.pop(stream.encode(), None)

    async def moved(self, *, block_ms: int = BLOCK_MS) -> Moved:
        """What moves first; nothing after `block_ms` in which nothing did. Raises what Redis does."""
        if self._hinted is None:
            # Where hints stand, by a hint of nobody: Redis' clock gives it its id, as it does the others. After a moment of our own
            # clock, where that is ahead, none would come until Redis' had caught up.
            none: Any = {TENANTS: b""}
            # A full Redis takes no hint, and gives none that is missed: the streams are read all the more.
            with suppress(ResponseError):
                self._hinted = await self._redis.xadd(self._hints, none, maxlen=KEPT_HINTS, approximate=True)
        watched = {self._hints: self._hinted or b"$", **self._seen}
        answer = await self._redis.xread(watched, count=COUNT, block=block_ms)
        found = Moved(set(), set())
        for name, entries in answer.items() if isinstance(answer, dict) else answer or ():
            if name != self._hints:
                found.streams.add(_text(name))
                continue
            for entry_id, fields in _flat(entries):
                self._hinted = entry_id
                found.tenants.update(_text(fields.get(TENANTS, b"")).split())
        return found


def _flat(entries: Any) -> Any:
    """redis-py wraps a stream's entries in one more list where the server speaks RESP3."""
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
