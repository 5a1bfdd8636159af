"""Connections to PostgreSQL: each service logs in with its own role, lazily and in small pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from shared.config import Settings

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
) -> Pool:
    """A pool that opens nothing until it is asked, and closes what stands idle for a minute."""
    _encode_arrays_quickly()
    return await asyncpg.create_pool(
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
            "idle_in_transaction_session_timeout": "60000",
            "timezone": "UTC",
            **PINNED_PLANS,
        },
    )


async def connect(dsn: str, **more: Any) -> asyncpg.Connection[asyncpg.Record]:
    """One connection by DSN, for administrators' commands."""
    return await asyncpg.connect(dsn, timeout=10, **more)
