"""What Redis holds of the streams, against PostgreSQL: a copy, so never more, never other, and never with holes.

The heads are read before the snapshot and the entries after it: by then the relay may have published more, and trimmed
what everybody has heard. Neither is a violation.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pointbank.verify.messaging.outbox import GENESIS
from pointbank.verify.messaging.topology import SERVICES, stream_key
from pointbank.verify.report import Check

AT_ONCE = 1_000
FIELD = b"event"


@dataclass
class Copy:
    """A stream as it stood before the snapshot; `digests` are of PostgreSQL's payloads from `first` on."""

    key: str
    n: int
    hash: str
    top: int
    first: int
    """The number of its first entry; 0 while it has none."""
    digests: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def nothing(cls) -> Copy:
        """A stream that nobody looks into."""
        return cls("", 0, "", 0, sys.maxsize)

    def watch(self, n: int, payload: bytes) -> None:
        """Notes what entry n must hold, where the stream may hold it."""
        if n >= self.first > 0:
            self.digests[n] = digest(payload)


def digest(payload: bytes) -> bytes:
    """Enough of a payload to tell it from another."""
    return blake2b(payload, digest_size=16).digest()


async def heads(redis: Redis, cell: str, tenant: str) -> dict[str, Copy]:
    """Each service's stream, head and stream read at once."""
    found = {}
    for service in SERVICES:
        key = stream_key(cell, tenant, service)
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hmget(f"{key}:head", "n", "hash")
            pipe.xinfo_stream(key)
            (n, hash_), info = await pipe.execute(raise_on_error=False)
        top, first = 0, 0
        if isinstance(info, dict):
            top = number(info["last-generated-id"])[0]
            first = number(info["first-entry"][0])[0] if info["first-entry"] else 0
        elif not isinstance(info, ResponseError):
            raise info
        found[service] = Copy(key, int(n or 0), (hash_ or b"").decode(), top, first)
    return found


def compare_head(check: Check, service: str, copy: Copy, planned: int, hash_: bytes | None) -> None:
    """Whether the stream is published as far as its head says, under PostgreSQL's hash."""
    check.compared += 1
    if copy.n == 0 and copy.top == 0:
        if planned:
            check.note(f"events of {service} of which Redis holds nothing", planned)
        return
    if copy.n > planned:
        check.wrong(f"{copy.key} is at {copy.n}, PostgreSQL has planned {planned}")
        return
    if copy.top != copy.n:
        check.wrong(f"{copy.key} ends at {copy.top}, its head says {copy.n}")
    wanted = GENESIS if copy.n == 0 else hash_
    if wanted is None or copy.hash != wanted.hex():
        check.wrong(f"{copy.key} at {copy.n}: the head's hash is not PostgreSQL's")
    if copy.n < planned:
        check.note(f"events of {service} not published yet", planned - copy.n)


async def compare_entries(check: Check, redis: Redis, copy: Copy, planned: int) -> None:
    """Whether each entry that is still there holds what PostgreSQL said, without holes."""
    last = 0
    async for entry_id, fields in _entries(redis, copy.key):
        n, part = number(entry_id)
        if n > planned:
            return  # later than the snapshot
        check.compared += 1
        if part:
            check.wrong(f"{copy.key}: entry {entry_id.decode()} is not the relay's")
            continue
        if last and n != last + 1 and not await _trimmed(redis, copy.key, last):
            check.wrong(f"{copy.key}: entry {n} follows {last}")
        last = n
        wanted = copy.digests.get(n)
        if wanted is None:
            # Entries below the first one come back only when a stream is filled again meanwhile.
            check.note("filled again while it was read")
        elif list(fields) != [FIELD] or digest(fields[FIELD]) != wanted:
            check.wrong(f"{copy.key}: entry {n} is not what PostgreSQL said")


async def _entries(redis: Redis, key: str) -> AsyncIterator[tuple[bytes, dict[bytes, bytes]]]:
    start = "-"
    while True:
        page: Any = await redis.xrange(key, start, "+", count=AT_ONCE)
        for entry_id, fields in page:
            yield entry_id, fields
        if len(page) < AT_ONCE:
            return
        start = "(" + page[-1][0].decode()


async def _trimmed(redis: Redis, key: str, n: int) -> bool:
    """Whether the stream now begins behind n."""
    page: Any = await redis.xrange(key, "-", "+", count=1)
    return not page or number(page[0][0])[0] > n


def number(entry_id: bytes | str) -> tuple[int, int]:
    """The two parts of an entry's id."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    n, _, part = text.partition("-")
    return int(n), int(part or 0)
