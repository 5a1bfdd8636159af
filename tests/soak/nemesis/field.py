"""Where the nemesis acts, and how a fault says that it can't be tried here."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.messaging.keys import HEARERS, SERVICES, Keys
from tests.soak.arena import Arena
from tests.soak.memory import Lost
from tests.soak.pace import LONG
from tests.soak.traffic import Traffic
from tests.support.processes import Fleet
from tests.support.town import Town, Trade


class Skipped(Exception):
    """The fault can't be tried on this machine; the message says why."""


class Missed(Exception):
    """It came to nothing: nobody came by, or there was nothing to steal. The message says of whom."""


@dataclass
class Field:
    """Where the nemesis acts."""

    arena: Arena
    town: Town
    trade: Trade
    traffic: Traffic
    dice: random.Random
    took_over: list[float] = field(default_factory=list)
    """Seconds from a theft until somebody did what the thief did not, of the fault that acts."""
    met: Counter[str] = field(default_factory=Counter)
    """What the fault that acts has really met: entries in hand, calls open, answers lost."""
    lost: list[Lost] = field(default_factory=list)
    """Times of this run whose commits PostgreSQL has lost."""
    adopted: list[set[str]] = field(default_factory=list)
    """Whose streams were adopted, each time."""
    calm: tuple[float, float] = (float("inf"), float("inf"))
    """Calls, and bills by stream, that were answered a second before the first fault."""
    undone_at: float | None = None
    """When it was taken back (time.monotonic): restarted, gone on, healed. Where a fault says nothing: when it returns."""

    def begin(self) -> None:
        """A fault begins."""
        self.took_over.clear()
        self.met.clear()
        self.undone_at = None

    def undone(self) -> None:
        """The fault that acts is taken back at this moment; what it does after that is looking."""
        self.undone_at = time.monotonic()

    @property
    def fleet(self) -> Fleet:
        return self.arena.world.fleet

    @property
    def keys(self) -> Keys:
        return Keys("main", self.town.tenant)

    @property
    def streams(self) -> list[str]:
        """The keys of the town's streams, whether they are there or not."""
        return [self.keys.pos, *map(self.keys.stream, SERVICES)]

    def redis(self) -> Any:
        """A connection of the administrator, past the wire."""
        return Redis.from_url(self.arena.world.valkey.url)

    async def admin(self, database: str = "postgres") -> asyncpg.Connection[asyncpg.Record]:
        """The same, to PostgreSQL."""
        return await asyncpg.connect(self.arena.world.postgres.dsn, database=database)

    async def books(self) -> asyncpg.Connection[asyncpg.Record]:
        """The same, to the town's database."""
        return await self.admin(f"pb_{self.town.tenant}")

    async def unacknowledged(self, redis: Any) -> int:
        """Entries that groups have been handed and have not acknowledged."""
        groups = [(self.keys.pos, "earn")]
        groups += [(self.keys.stream(one), hearer) for one in SERVICES for hearer in HEARERS[one]]
        found = 0
        for stream, group in groups:
            with suppress(ResponseError):  # neither may be there yet
                found += int((await redis.xpending(stream, group))["pending"])
        return found

    def victim(self) -> str:
        """Some process."""
        return self.dice.choice(sorted(self.fleet.replicas))

    async def pause(self, least: float, most: float, *, long: tuple[float, float] | None = None) -> float:
        """Some seconds; `long` of them where a run takes its time. Gives how many."""
        lasts = self.dice.uniform(least, most)
        if LONG and long is not None:
            lasts = self.dice.uniform(*long)
        await asyncio.sleep(lasts)
        return lasts


Fault = Callable[[Field], Coroutine[Any, Any, str | None]]
