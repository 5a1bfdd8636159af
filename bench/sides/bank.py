"""The bank: accruals through its lane with all that it writes, the inbox too; redemptions over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bench.pipe import PROGRAMME, Opened, cpu_seconds
from bench.redemptions import run_redemptions
from bench.sides import Numbers, Pick
from bench.timing import rate
from pointbank.running import Deployment
from shared.events import PointsAccrued
from shared.events.bills import AccruedLot
from shared.ids import uuid7
from shared.messaging import Item
from shared.messaging.commands import FromStream
from shared.runtime import TenantRuntime

REST_SHARE, REST_LOOKS, LOOK_S, REST_S = 0.06, 4, 0.4, 120.0
"""The service is at rest when it was busy for less than this share of a look, so many times in a row; waited for so long."""
FAR = 1_000_000_000
"""Dense ids that no stream of the bench comes to."""


class Lane:
    """The bank's lane in this process, as pgledger is called from it; the service publishes its events."""

    accruals = "accruals"

    def __init__(self, runtime: TenantRuntime, opened: Opened) -> None:
        self._runtime = runtime
        self._wallets = [UUID(one) for one in opened.wallets]
        self._numbers = iter(range(FAR, 2 * FAR))
        self._member_id = uuid7()

    async def accrue(self, drawn: Sequence[list[int]]) -> float:
        """A batch of the lane for each."""
        now = datetime.now(UTC)
        batches = [[self._item(self._wallets[k], now) for k in members] for members in drawn]
        return await rate(batches, self._runtime.lane.submit_many, size=len(drawn[0]))

    def _item(self, wallet_id: UUID, now: datetime) -> Item[Any]:
        """An accrual as earn's stream brings it."""
        return Item(
            command=PointsAccrued(
                accrual_id=uuid7(), kind="earn", bill_id=uuid7(), member_id=self._member_id, wallet_id=wallet_id,
                programme=PROGRAMME, programme_version=1, currency="SAR", point_value="0.10", effective_at=now,
                decided_at=now, points=100, lots=(AccruedLot(lot_id=uuid7(), points=100, expires_at=None),),
            ),
            origin=FromStream("earn", next(self._numbers)),
            request_id=str(uuid7()),
            actor="/earn",
            source="/earn",
            event_id=str(uuid7()),
        )  # fmt: skip


class OverHttp:
    """Redemptions as tills ask for them; `_server_us` is what each costs the service's process, by the kernel's count."""

    redemption = "redemption"

    def __init__(self, deployment: Deployment, opened: Opened) -> None:
        self._deployment, self._opened = deployment, opened

    async def redeem(self, pick: Pick, *, concurrency: int, calls: int, seed: int) -> Numbers:
        """So many tills, each with a connection of its own."""
        pid = self._deployment.child.pid
        cpu = cpu_seconds(pid)
        run = await run_redemptions(
            self._deployment, self._opened, concurrency=concurrency, calls=calls, seed=seed, pick=pick
        )
        return {
            "s": run.rate,
            "_p50_ms": run.p50_ms,
            "_server_us": (cpu_seconds(pid) - cpu) / calls * 1e6,
        }


async def until_at_rest(pid: int) -> None:
    """Returns when the service of this process has told all. Raises TimeoutError."""
    deadline, looks = time.monotonic() + REST_S, 0
    while looks < REST_LOOKS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the service does not come to rest within {REST_S:.0f} s")
        cpu = cpu_seconds(pid)
        await asyncio.sleep(LOOK_S)
        looks = looks + 1 if cpu_seconds(pid) - cpu < REST_SHARE * LOOK_S else 0
