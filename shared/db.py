"""Connections to PostgreSQL: each service logs in with its own role, lazily and in small pools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from shared.budget import Budget
from shared.config import Settings
from shared.joined import join_messages
from shared.keepalive import OF_THE_SERVER
from shared.login import log_in
from shared.silence import Silence, answered_within_s

if TYPE_CHECKING:
    # asyncpg's classes are generic in its stubs only.
    Connection: TypeAlias = (
        asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    )
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
    Pool = asyncpg.Pool

TRANSIENT = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,  # the database is being moved
    asyncpg.PostgresSystemError,
    asyncpg.ObjectInUseError,
    asyncpg.StatementCompletionUnknownError,
    asyncpg.IdleInTransactionSessionTimeoutError,  # it ended the connection
    asyncpg.InvalidCachedStatementError,  # a migration changed a table under a plan
    asyncpg.OutdatedSchemaCacheError,
    asyncpg.TargetServerAttributeNotMatched,
    ConnectionError,
    EOFError,
    TimeoutError,
    OSError,
)
"""Faults that a later try can survive: the server or the way to it, never the item. QueryCanceled is told apart first."""


def _encode_arrays_quickly() -> None:
    """asyncpg asks of each element of an array whether it is an array itself, by two abstract classes: a third of the cost
    of a large batch. We nest lists and tuples only, so it may ask for those (docs/decisions/0007)."""
    protocol: Any = asyncpg.protocol.protocol
    if hasattr(protocol, "IterableABC") and hasattr(protocol, "SizedABC"):
        protocol.IterableABC = protocol.SizedABC = (list, tuple)
        protocol.MappingABC = dict  # asked of each array, to refuse it


async def _keep(_: asyncpg.Connection[asyncpg.Record]) -> None:
    """Our code leaves nothing behind in a session (no advisory locks, no LISTEN): the usual reset is a wasted round trip."""


PINNED_PLANS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""Every query of a service finds its rows by key. A plan that was cached while a tenant's tables were empty would read them
whole, and be kept while they grow (docs/decisions/0003): so the planner is told to use the keys from the start.
And it plans once, not anew for each batch of arrays (docs/decisions/0008)."""


def role_of(tenant: str, service: str) -> str:
    """The login role of a service in a tenant's database."""
    return f"pb_{tenant}_{service}"


def database_of(tenant: str) -> str:
    """The name of a tenant's database."""
    return f"pb_{tenant}"


async def open_pool(
    settings: Settings,
    *,
    database: str,
    user: str,
    password: str,
    size: int,
    application: str,
    host: str | None = None,
    port: int | None = None,
    budget: Budget | None = None,
) -> Pool:
    """A pool that opens nothing until it is asked, within the process's budget, and closes what stands idle for a minute, and what
    has fallen silent."""
    _encode_arrays_quickly()
    join_messages()
    silence = Silence(within_s=answered_within_s(settings.statement_timeout_ms))
    pool = await asyncpg.create_pool(
        connect=silence.breaking(log_in if budget is None else budget.connect),
        host=host or settings.postgres_host,
        port=port or settings.postgres_port,
        database=database,
        user=user,
        password=password,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=60.0,
        timeout=10,
        reset=_keep,
        server_settings={
            "application_name": application,
            "statement_timeout": str(settings.statement_timeout_ms),
            "lock_timeout": str(settings.lock_timeout_ms),
            "idle_in_transaction_session_timeout": str(settings.idle_in_transaction_ms),
            "timezone": "UTC",
            **OF_THE_SERVER,
            **PINNED_PLANS,
        },
    )
    silence.watch(pool)
    if budget is not None:
        budget.govern(pool)
    return pool


async def connect(dsn: str, **more: Any) -> asyncpg.Connection[asyncpg.Record]:
    """One connection by DSN, for administrators' commands. Raises ShutOut."""
    db: asyncpg.Connection[asyncpg.Record] = await log_in(dsn, timeout=10, **more)
    return db


KEPT_S = 1.0
KEPT_TIMES = 10_000


class Kept:
    """One connection of a pool, kept for who comes again and again: a lane. To give it back and take it anew is a tenth of the
    client's work for a lone redemption (docs/decisions/0105). Who comes while it is in use takes another from the pool. After
    a second of nothing, after many turns, when a turn failed, or when it is the last one, the pool has it back.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._free: Any = None  # a proxy of the pool's
        self._times = 0
        self._idle: asyncio.TimerHandle | None = None
        self._giving: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """A connection, as of `pool.acquire`."""
        db, self._free = self._free, None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if db is not None and not _lives(db):
            await self._pool.release(db)
            db = None
        if db is None:
            db, self._times = await self._pool.acquire(), 0
        try:
            yield db
        except BaseException:
            await self._pool.release(db)
            raise
        self._times += 1
        if self._free is not None or self._closed or self._times > KEPT_TIMES or not self._others():
            await self._pool.release(db)
            return
        self._free = db
        self._idle = asyncio.get_running_loop().call_later(KEPT_S, self._give_back)

    async def give_back(self) -> None:
        """The pool has back what is not in use."""
        if (giving := self._give_back()) is not None:
            await giving

    async def close(self) -> None:
        """The pool has it back, and gets back at once what is still in use."""
        self._closed = True
        await self.give_back()

    def _others(self) -> bool:
        """Whether the pool has more for those who come: of the last one nothing is kept."""
        return self._pool.get_idle_size() > 0 or self._pool.get_size() < self._pool.get_max_size()

    def _give_back(self) -> asyncio.Task[None] | None:
        db, self._free, idle, self._idle = self._free, None, self._idle, None
        if idle is not None:
            idle.cancel()
        if db is None:
            return None
        self._giving = asyncio.create_task(self._pool.release(db))
        return self._giving


def _lives(db: Any) -> bool:
    try:
        return not db.is_closed()
    except asyncpg.InterfaceError:  # the pool has noticed its end, and taken it back
        return False
