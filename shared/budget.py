"""The connections to PostgreSQL that a service's process may have in all, whatever tenants it serves."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

import asyncpg

from shared.login import log_in

WAIT_S = 5.0
"""Who can't have a connection for so long is told that there are too many: a fault that its lane tries again."""
LOOK_S = 0.02
"""Who waits looks so often for one that stands idle."""


FOR_PEOPLE = 5
"""So many connections are for commands, the oracle and whoever looks, beside those of the services."""


def shortage(*, room: int, services: int, replicas: int, connections: int) -> str:
    """What to do where a server has not room for all that the services may open, beside their looks into the directory; empty
    where it has. The code `connection_budget_exceeded` stands before it in logs."""
    needed = services * replicas * (connections + 1) + FOR_PEOPLE
    if needed <= room:
        return ""
    fits = (room - FOR_PEOPLE) // (services * replicas) - 1
    lower = f", or POINTBANK_CONNECTIONS to {fits}" if fits >= 2 else ""
    return (
        f"{services} services x {replicas} replicas may open {needed} connections, PostgreSQL has room for {room}: "
        f"raise max_connections by {needed - room}{lower} (POINTBANK_REPLICAS says how many replicas there are)"
    )


class Budget:
    """A number of connections, shared by the pools of all tenants. Where none is left, one that stands idle in another pool is
    closed for who needs it; where all are in use, those who need one take turns."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.open = 0
        self._pools: list[Any] = []
        self._waiting: deque[asyncio.Future[None]] = deque()

    def govern(self, pool: Any) -> None:
        """This pool's idle connections may be closed for others."""
        self._pools = [one for one in self._pools if not one.is_closing()] + [pool]

    async def connect(self, *args: Any, **more: Any) -> Any:
        """As `log_in`, within the budget. Raises TooManyConnectionsError after WAIT_S."""
        await self._take()
        try:
            db = await log_in(*args, **more)
        except BaseException:
            self._give()
            raise
        db.add_termination_listener(self._ended)
        return db

    async def _take(self) -> None:
        if self.open < self._most and not self._waiting:
            self.open += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        until = time.monotonic() + WAIT_S
        try:
            while not turn.done():
                if time.monotonic() > until:
                    raise asyncpg.TooManyConnectionsError(
                        f"all {self._most} connections of this process are in use (POINTBANK_CONNECTIONS)"
                    )
                self._close_one()
                await asyncio.wait([turn], timeout=LOOK_S)
        except BaseException:
            if turn.done():
                self._give()  # it came as we left
            else:
                self._waiting.remove(turn)
            raise

    def _ended(self, _: Any) -> None:
        self._give()

    def _give(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the connection's place is theirs now
                return
        self.open -= 1

    def _close_one(self) -> None:
        for pool in self._pools:
            if not pool.is_closing() and close_idle(pool, most=1):
                return


def close_idle(pool: Any, *, most: int | None = None) -> int:
    """Closes connections that nobody uses; gives how many. asyncpg has no public way to it, so its version is pinned and
    tests/integration/test_tending.py holds what this relies on."""
    closed = 0
    for holder in pool._holders:  # noqa: SLF001
        if most is not None and closed >= most:
            break
        if holder.is_connected() and holder.is_idle():
            holder.terminate()
            closed += 1
    return closed
