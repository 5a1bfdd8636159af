"""What waits for others waits by itself: neither who takes over, nor who keeps house, nor another retry stands behind it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared.config import Settings
from shared.events import MessageDelivered
from shared.messaging import Item, NotHeardYet, Outcome, Tx
from shared.tenants import Tenant
from tests.support.patience import PATIENCE_S
from tests.support.speaking import Ears, Say, by_job, eventually, quick_settings, say
from tests.support.tenants import running


class Needing(Ears):
    """Ears that can't take the subject "needs" before they heard "first"; `spoilt`: PostgreSQL refuses both."""

    def __init__(self, *, spoilt: bool = False) -> None:
        super().__init__()
        self.spoilt, self.first = spoilt, False

    async def hear(self, tx: Tx, items: Sequence[Item[MessageDelivered]]) -> list[Outcome]:
        subjects = [subject for subject in ("first", "needs") for item in items if _says(item, subject)]
        if subjects and self.spoilt:
            await tx.db.execute("SELECT 1 / 0")
        if "needs" in subjects and not self.first:
            raise NotHeardYet
        outcomes = await super().hear(tx, items)
        self.first = self.first or "first" in subjects
        return outcomes


def _says(item: Item[Any], subject: str) -> bool:
    return b'"subject":"%s"' % subject.encode() in item.payload


async def test_what_two_dead_consumers_left_is_taken_over_whoever_is_looked_at_first(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One died holding what the other's entry needs; nobody else is there to take it."""
    monkeypatch.setattr("shared.runtime.RECLAIM_EVERY_S", 0.1)
    monkeypatch.setattr("shared.messaging.consumer.CLAIM", 1)
    ears = Needing()
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await service.lane.submit_many([by_job(Say("first")), by_job(Say("needs"))])
        stream = service.keys.stream("earn")
        async with asyncio.timeout(PATIENCE_S):
            while await service.redis.xlen(stream) < 2:
                await asyncio.sleep(0.02)
        await service.redis.xgroup_create(stream, "redeem", id="0")
        for name in ("b-died", "a-died"):  # by name, so is their order, the second entry's holder comes first
            await service.redis.xreadgroup("redeem", name, {stream: ">"}, count=1)
        quick = quick_settings(settings)
        async with running(quick, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)):
            await eventually(lambda: len(ears.heard) == 2, within_s=PATIENCE_S / 3)
    assert ears.heard == [1, 2]
