"""Whether a service's stream is known to be a copy of PostgreSQL as it is now (docs/decisions/0231).

A relay that has compared its stream says beside it with which PostgreSQL, and publishes nothing beside another one's word. Who
hears the stream begins only where that is the PostgreSQL it writes to itself: after a restore of an older copy the stream may hold
events whose facts are gone, and the relay that would halt there may not have begun yet.
"""

from __future__ import annotations

import time

import structlog
from redis.asyncio import Redis

from shared.db import Pool
from shared.messaging.faults import passing
from shared.messaging.keys import Keys
from shared.messaging.queries import queries
from shared.messaging.watch import hint

log = structlog.get_logger(__name__)

COPY_OF = "copy_of"
SAY_EVERY_S = 5.0


class Copy:
    """One service's stream of one tenant, as somebody sees it who is about to hear it."""

    def __init__(self, service: str, *, pool: Pool, redis: Redis, keys: Keys) -> None:
        self._service, self._pool, self._redis, self._keys = service, pool, redis, keys
        self._stream = keys.stream(service)
        self._said_at = float("-inf")

    async def may_be_heard(self) -> bool:
        """Whether its relay has compared it with this PostgreSQL, or nobody has ever said with which one (a release before this
        one, or a stream that is lost and will be filled). Where not, or where it can't be asked, that is said; ask again."""
        try:
            said = await self._redis.hget(self._keys.head(self._service), COPY_OF)
            if said is None or _text(said) == await self._here():
                return True
            if self._due():
                # Its relay compares when it begins: where the tenant rests there, it is woken.
                log.warning("not heard before it is compared", stream=self._stream)
                await hint(self._redis, self._keys.cell, [f"{self._keys.tenant}:{self._service}"])
        except Exception as error:
            if self._due():
                level = log.warning if passing(error) else log.error
                level("whose copy it is can't be asked", stream=self._stream, error=repr(error)[:300])
        return False

    def _due(self) -> bool:
        now = time.monotonic()
        due = now - self._said_at >= SAY_EVERY_S
        self._said_at = now if due else self._said_at
        return due

    async def _here(self) -> str:
        async with self._pool.acquire() as db:
            return str(await queries.postgres_of(db, service=self._service))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
