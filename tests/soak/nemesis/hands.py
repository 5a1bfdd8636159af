"""What processes have in hand: entries that they were handed and have not acknowledged, as Redis tells, and calls that the gateway
has given them and that are not answered."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from shared.messaging.keys import heard_by
from tests.soak.nemesis.field import Field
from tests.support.processes import Replica

TRIED_S = 6.0
"""So long it is waited for a moment at which one of them has something in hand."""
MOMENT_S = 0.2
"""So long they are stopped meanwhile, and go on for as long: what is handed to who reads is in its hand, stopped or not."""


async def in_hand(field: Field, replicas: Sequence[Replica]) -> Counter[str]:
    """Of these processes now; exact where they take no step."""
    found: Counter[str] = Counter()
    async with field.redis() as redis:
        for one in replicas:
            found["calls open"] += field.fleet.gateway.open_at((one.host, one.port))
            found["entries in hand"] += await _entries(field, redis, one)
    return +found


async def stopped_with_something(field: Field, names: Sequence[str]) -> None:
    """Stops these processes (SIGSTOP) until they have something in hand, a moment at a time, and counts it; with nothing there
    after TRIED_S they are stopped all the same."""
    replicas = [field.fleet.replicas[name] for name in names]
    deadline = time.monotonic() + TRIED_S
    while True:
        for one in replicas:
            one.process.send_signal(signal.SIGSTOP)
        kept = False
        try:
            found = await _within(MOMENT_S, lambda: in_hand(field, replicas))
            if kept := bool(found) or time.monotonic() > deadline:
                field.met.update(found)
                return
        finally:
            if not kept:
                go_on(field, names)
        await asyncio.sleep(MOMENT_S)


async def _within(seconds: float, look: Callable[[], Awaitable[Counter[str]]]) -> Counter[str]:
    """What is there at first, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := await look()) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    return found


def go_on(field: Field, names: Sequence[str]) -> None:
    """Those of them that are there go on (SIGCONT)."""
    for name in names:
        field.fleet.replicas[name].process.send_signal(signal.SIGCONT)


async def _entries(field: Field, redis: Any, replica: Replica) -> int:
    """Of the consumers that its process has; their names end in its id and a few letters."""
    streams = [field.keys.stream(one) for one in heard_by(replica.service)]
    if replica.service == "earn":
        streams.append(field.keys.pos)
    found = 0
    for stream in streams:
        with suppress(RedisError):  # it may not be there yet
            told = await redis.xpending(stream, replica.service)
            found += sum(
                int(one["pending"])
                for one in told["consumers"]
                if one["name"].split(b"-")[-2] == b"%d" % replica.pid
            )
    return found
