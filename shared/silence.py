"""Connections to PostgreSQL that fall silent without a reset: a node died, and its address moved on (docs/decisions/0241).

A server that lives ends a statement at `statement_timeout`: who has heard nothing a little later hears nothing more. Where nobody
acknowledges, the kernel finds out (`shared.keepalive`); where somebody in between does, we look: once a second, not at each call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

import structlog

from shared.budget import close_idle

log = structlog.get_logger(__name__)

LOOK_S = 1.0
GRACE_S = 2.0
"""An answer may be so late after the server's own time-out."""
CLOSING_S = 1.0
"""Where a pool closes, a connection that nobody uses has said goodbye: a server that lives hangs up at once."""


_patient: WeakKeyDictionary[Any, tuple[Any, float]] = WeakKeyDictionary()


def answered_within_s(statement_timeout_ms: int) -> float:
    """By then a server that lives has answered a statement, or said that it took too long."""
    return statement_timeout_ms / 1000 + GRACE_S


def be_patient(db: Any, *, statement_timeout_ms: int) -> None:
    """This use of a pool's connection has a longer `statement_timeout`, until the connection is given back."""
    holder = getattr(db, "_holder", None)
    if holder is not None:
        _patient[holder] = holder._in_use, answered_within_s(statement_timeout_ms)  # noqa: SLF001


class Silence:
    """Ends a pool's connections on which somebody has waited for too long: who waits gets a ConnectionDoesNotExistError.

    asyncpg has no public way to see it, so its version is pinned and tests/integration/messaging/test_silence.py holds what this
    relies on. Looks are counted, not seconds: a process that stood still has not listened.
    """

    def __init__(self, *, within_s: float) -> None:
        self._within_s = within_s
        self._pool: Any = None
        self._looking: asyncio.TimerHandle | None = None
        self._seen: dict[Any, tuple[Any, int, int]] = {}
        """By holder: the use that it is in, how many statements it had had, and how often that was seen."""

    def watch(self, pool: Any) -> None:
        """Of this pool, from its first connection on."""
        self._pool = pool

    def breaking(self, connect: Callable[..., Awaitable[Any]]) -> Any:
        """`connect`, for that pool."""

        async def connected(*args: Any, **more: Any) -> Any:
            db = await connect(*args, **more)
            if self._looking is None:
                self._look_later()
            return db

        return connected

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._looking = None
        before, self._seen = self._seen, {}
        open_ones = [one for one in self._pool._holders if one._con is not None]  # noqa: SLF001
        for holder in open_ones:
            if (self._looks(holder, before) - 1) * LOOK_S >= self._bound_s(holder):
                self._end(holder)
        if open_ones:
            self._look_later()

    def _end(self, holder: Any) -> None:
        db = holder._con  # noqa: SLF001
        log.warning("a connection to PostgreSQL has fallen silent", pid=db.get_server_pid())
        if db.is_closed():  # in asyncpg's eyes: it has said goodbye, and waits for the other end
            db._transport.abort()  # noqa: SLF001
        else:
            holder.terminate()
        close_idle(self._pool)  # they go to the same server: each would be found out after as long

    def _looks(self, holder: Any, before: dict[Any, tuple[Any, int, int]]) -> int:
        """How often it was seen as it is now; 0 where nobody waits for it."""
        if holder.is_idle() and not self._pool.is_closing():
            return 0
        protocol = holder._con._protocol  # noqa: SLF001
        if not protocol.joins.waits and not self._pool.is_closing():
            return 0
        use, asked = holder._in_use, protocol.queries_count  # noqa: SLF001
        *same, looks = before.get(holder, (use, asked, 0))
        looks = looks + 1 if same == [use, asked] else 1
        self._seen[holder] = use, asked, looks
        return looks

    def _bound_s(self, holder: Any) -> float:
        if holder.is_idle():
            return CLOSING_S
        use, within_s = _patient.get(holder, (None, 0.0))
        return within_s if use is holder._in_use else self._within_s  # noqa: SLF001
