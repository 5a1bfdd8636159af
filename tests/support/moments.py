"""The moment of a fault: everything stands still, is counted, and only then is it struck."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from pointbank.verify.database import auditor
from shared.db import Connection
from shared.messaging.keys import HEARERS, SERVICES, Keys
from tests.support.patience import PATIENCE_S
from tests.support.processes import Fleet
from tests.support.town import Town

_OUTBOX = """
    SELECT
        (SELECT base + n - 1 FROM {service}.cuts ORDER BY no DESC LIMIT 1) AS planned,
        (
            SELECT count(*)
            FROM {service}.outbox AS o, (SELECT snapshot FROM {service}.cuts ORDER BY no DESC LIMIT 1) AS last
            WHERE o.xid >= pg_snapshot_xmin(last.snapshot) AND NOT pg_visible_in_snapshot(o.xid, last.snapshot)
        ) AS uncut
"""


@dataclass(frozen=True)
class Moment:
    """Entries delivered and not acknowledged, by who holds them; entries not read yet; committed events that stand in no
    stream; calls without an answer. By service."""

    unacknowledged: Counter[str]
    unread: Counter[str]
    unpublished: Counter[str]
    open_calls: Counter[str]

    def __str__(self) -> str:
        parts = [
            ("unacknowledged entries", self.unacknowledged),
            ("unread entries", self.unread),
            ("unpublished events", self.unpublished),
            ("open calls", self.open_calls),
        ]
        return "; ".join(
            f"{counts.total()} {what} ({', '.join(f'{who} {n}' for who, n in sorted(counts.items()) if n)})"
            for what, counts in parts
        )

    @property
    def busy(self) -> bool:
        """Whether a fault now can lose something of each kind."""
        return bool(self.unacknowledged.total() and self.unpublished.total() and self.open_calls.total())


Needs = Callable[[Moment], object]
Fault = Callable[[], Awaitable[Any] | Any]


async def strike(
    fleet: Fleet,
    town: Town,
    fault: Fault,
    *,
    rng: random.Random,
    needs: Needs = lambda _: True,
    within_s: float = PATIENCE_S,
) -> Moment:
    """Waits for a busy moment that also has what is needed, holds the fleet still in it, and does the fault.

    Fails when there is no such moment: a fault that meets nothing proves nothing.
    """
    await asyncio.sleep(rng.uniform(0.1, 0.8))
    deadline = time.monotonic() + within_s
    async with _measuring(fleet, town) as measure:
        while True:
            with fleet.frozen():
                moment = await measure()
                if moment.busy and needs(moment):
                    done = fault()
                    if inspect.isawaitable(done):
                        await done
                    return moment
            assert time.monotonic() < deadline, f"no moment was worth a fault; the last one had {moment}"
            await asyncio.sleep(rng.uniform(0.005, 0.04))


@asynccontextmanager
async def _measuring(fleet: Fleet, town: Town) -> AsyncIterator[Callable[[], Awaitable[Moment]]]:
    redis: Any = Redis.from_url(town.settings.redis_url)
    async with auditor(town.settings, town.tenant) as db:

        async def measure() -> Moment:
            opened = fleet.gateway.open_calls()
            unacknowledged, unread, heads = await _streams(redis, Keys(town.settings.cell, town.tenant))
            unpublished = await _outboxes(db, heads)
            # Those that were given to a service before all stood still.
            still = Counter(who for call, who in fleet.gateway.open_calls().items() if call in opened)
            return Moment(unacknowledged, unread, unpublished, still)

        try:
            yield measure
        finally:
            await redis.aclose()
            if not db.is_closed():
                # The fault may have been PostgreSQL's own end.
                db.terminate()


async def _streams(redis: Any, keys: Keys) -> tuple[Counter[str], Counter[str], dict[str, int]]:
    async with redis.pipeline(transaction=False) as pipe:
        for service in SERVICES:
            pipe.hget(keys.head(service), "n")
        for stream in (keys.pos, *(keys.stream(service) for service in SERVICES if HEARERS[service])):
            pipe.xinfo_groups(stream)
        found = await pipe.execute(raise_on_error=False)
    heads = {service: int(n or 0) for service, n in zip(SERVICES, found, strict=False)}
    unacknowledged: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    for groups in found[len(SERVICES) :]:
        for group in groups if isinstance(groups, list) else ():
            who = group["name"].decode()
            unacknowledged[who] += group["pending"]
            unread[who] += group["lag"] or 0
    return unacknowledged, unread, heads


async def _outboxes(db: Connection, heads: dict[str, int]) -> Counter[str]:
    unpublished: Counter[str] = Counter()
    for service in SERVICES:
        row = await db.fetchrow(_OUTBOX.format(service=service))
        assert row is not None
        unpublished[service] = row["uncut"] + row["planned"] - heads[service]
    return unpublished
