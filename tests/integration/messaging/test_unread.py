"""What only a process of a later release can write is left to it: nobody who asked waits for that, nor does who stops."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from shared.config import Settings
from shared.events import MessageDelivered
from shared.messaging import Item, Outcome, Tx
from shared.programme.validation import UnreadVersion
from shared.tenants import Tenant
from tests.support.patience import PATIENCE_S
from tests.support.speaking import Ears, Say, by_http, by_job, eventually, quick_settings, say
from tests.support.tenants import running


class Former(Ears):
    """Ears of the release before: they can't read what they would need. `held`: once, a row of it is in another's hands."""

    def __init__(self, *, held: bool = False) -> None:
        super().__init__()
        self.held, self.tries = held, 0

    async def hear(self, tx: Tx, items: Sequence[Item[Any]]) -> list[Outcome]:
        self.tries += 1
        if self.held:
            self.held = False
            raise asyncpg.LockNotAvailableError
        raise UnreadVersion("A later release knows.")


@pytest.mark.parametrize("ask", [lambda: by_job(Say("one")), lambda: by_http(Say("one"), "key")])
async def test_who_asked_and_had_to_wait_for_a_row_first_is_told_all_the_same(
    settings: Settings, tenant: Tenant, ask: Any
) -> None:
    former = Former(held=True)
    async with running(settings, tenant, "redeem", {Say: former.hear}) as service:
        async with asyncio.timeout(PATIENCE_S / 3):
            with pytest.raises(UnreadVersion):
                await service.lane.submit(ask())
    assert former.tries == 2


async def test_an_entry_that_came_often_keeps_no_stop_waiting_and_has_no_try_against_it(
    settings: Settings, tenant: Tenant
) -> None:
    """It is tried alone, for it may be what killed its readers; it is not."""
    former = Former()
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await service.lane.submit(by_job(Say("one")))
        stream = service.keys.stream("earn")
        async with asyncio.timeout(PATIENCE_S):
            while await service.redis.xlen(stream) < 1:
                await asyncio.sleep(0.02)
        await service.redis.xgroup_create(stream, "redeem", id="0")
        for name in ("a-died", "b-died", "c-died"):
            await service.redis.xreadgroup("redeem", name, {stream: ">"})
            await service.redis.xclaim(stream, "redeem", name, min_idle_time=0, message_ids=["1-0"])
        quick = quick_settings(settings)
        async with running(
            quick, tenant, "redeem", {MessageDelivered: former.hear}, hears=("earn",)
        ) as hearer:
            await eventually(lambda: former.tries > 4)
            async with asyncio.timeout(PATIENCE_S / 6):
                await hearer.lane.drain(within_s=PATIENCE_S)
            async with hearer.read() as db:
                assert await db.fetchval("SELECT tries FROM attempts WHERE entry_id = '1-0'") == 0
                assert await db.fetchval("SELECT count(*) FROM dead_letters") == 0
        assert (await service.redis.xpending(stream, "redeem"))["pending"] == 1


async def test_what_one_can_not_read_another_takes_over_though_the_first_lives(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what stands behind it the first leaves in the stream, for whoever can."""
    monkeypatch.setattr("shared.messaging.consumer.GETS_NOWHERE_S", 1.5)
    monkeypatch.setattr("shared.runtime.RECLAIM_EVERY_S", 0.1)
    former, later, quick = Former(), Ears(), quick_settings(settings)
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(quick, tenant, "redeem", {MessageDelivered: former.hear}, hears=("earn",)) as hearer,
    ):
        await service.lane.submit(by_job(Say("one")))
        await eventually(lambda: former.tries > 0)
        await service.lane.submit(by_job(Say("two")))
        async with running(quick, tenant, "redeem", {MessageDelivered: later.hear}, hears=("earn",)):
            await eventually(lambda: later.heard == [2, 1], within_s=PATIENCE_S / 3)
            # Whoever could not read it finds that it is written.
            await eventually(lambda: hearer.lane.idle, within_s=PATIENCE_S / 3)


async def test_what_one_can_not_read_keeps_it_from_no_stop(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runtime.END_S", 2 * PATIENCE_S)
    former = Former()
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await service.lane.submit(by_job(Say("one")))
        async with asyncio.timeout(PATIENCE_S / 2):
            async with running(settings, tenant, "redeem", {MessageDelivered: former.hear}, hears=("earn",)):
                await eventually(lambda: former.tries > 2)
        assert (await service.redis.xpending(service.keys.stream("earn"), "redeem"))["pending"] == 1


async def test_what_one_can_not_read_keeps_it_from_no_rest_and_is_tried_again_when_it_goes_on(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came as the tenant was to rest: nobody would look after the process' tenants any more."""
    monkeypatch.setattr("shared.runtime.RECLAIM_EVERY_S", 0.1)
    former, quick = Former(), quick_settings(settings)
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(quick, tenant, "redeem", {MessageDelivered: former.hear}, hears=("earn",)) as hearer,
    ):
        await service.lane.submit(by_job(Say("one")))
        await eventually(lambda: former.tries > 2)
        async with asyncio.timeout(PATIENCE_S / 2):
            rested = await hearer.rest()
        assert rested is None, "what is pending is taken over"
        before = former.tries
        await eventually(lambda: former.tries > before + 2)
