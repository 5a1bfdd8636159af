"""What waits for others waits by itself: neither who takes over, nor who keeps house, nor another retry stands behind it."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from pointbank.operating.dead_letters import list_dead_letters, move_dead_letters
from shared.config import Settings
from shared.errors import FieldError
from shared.events import MessageDelivered
from shared.messaging import Item, NotHeardYet, Outcome, Tx
from shared.tenants import Tenant
from tests.support.patience import PATIENCE_S
from tests.support.speaking import Ears, Say, by_job, eventually, quick_settings, say
from tests.support.tenants import connect_as, running


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


async def _retry(settings: Settings, tenant: Tenant, dead_letter_id: UUID) -> None:
    moved = await move_dead_letters(
        settings, tenant.code, [dead_letter_id], state="retry", actor="tester", reason="mended"
    )
    assert moved == [dead_letter_id]


async def _dead(settings: Settings, tenant: Tenant, *, open_: int) -> dict[str, UUID]:
    """The dead letters of redeem by entry, once so many are open."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            letters = await list_dead_letters(settings, tenant.code, services=["redeem"])
            if [one.state for one in letters].count("open") == open_:
                return {one.entry_id: one.dead_letter_id for one in letters}
            await asyncio.sleep(0.05)


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


async def test_what_a_retry_needs_may_be_asked_for_after_it(settings: Settings, tenant: Tenant) -> None:
    """Two dead letters, of which the one needs the other: it is asked for first, and the other while it waits."""
    ears = Needing(spoilt=True)
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(settings, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)) as hearer,
    ):
        await service.lane.submit_many([by_job(Say("first")), by_job(Say("needs"))])
        letters = await _dead(settings, tenant, open_=2)
        ears.spoilt = False
        await _retry(settings, tenant, letters["2-0"])
        await eventually(lambda: not hearer.lane.idle)
        await service.lane.submit(by_job(Say("later")))
        async with hearer.read() as db, asyncio.timeout(PATIENCE_S / 3):
            # Who keeps house does not wait for it.
            while await db.fetchval("SELECT applied_through FROM positions WHERE stream = 'earn'") < 3:
                await asyncio.sleep(0.05)
        assert not hearer.lane.idle, "it waits"
        await _retry(settings, tenant, letters["1-0"])
        await eventually(lambda: len(ears.heard) == 3, within_s=PATIENCE_S / 3)
        assert await list_dead_letters(settings, tenant.code, services=["redeem"]) == []
    assert ears.heard == [3, 1, 2]


async def test_a_retry_that_can_not_be_read_keeps_none_of_the_others_waiting(
    settings: Settings, tenant: Tenant
) -> None:
    """One was sealed with a key that is not there any more."""
    ears = Needing(spoilt=True)
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(settings, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)) as hearer,
    ):
        await service.lane.submit_many([by_job(Say("first")), by_job(Say("needs"))])
        letters = await _dead(settings, tenant, open_=2)
        async with hearer.read() as db:
            await db.execute(
                "UPDATE dead_letters SET payload = set_byte(payload, 20, get_byte(payload, 20) # 1) WHERE entry_id = '1-0'"
            )
        ears.spoilt, ears.first = False, True
        await _retry(settings, tenant, letters["1-0"])
        await asyncio.sleep(1.5)
        await _retry(settings, tenant, letters["2-0"])
        await eventually(lambda: ears.heard == [2], within_s=PATIENCE_S / 3)
        [left] = await list_dead_letters(settings, tenant.code, services=["redeem"])
    assert (left.entry_id, left.state) == ("1-0", "retry")


async def test_a_retry_that_kills_its_process_is_given_up_after_the_last_try(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can take a retry back: it must come to an end by itself."""
    for name in ("END_S", "DRAIN_S"):
        monkeypatch.setattr(f"shared.runtime.{name}", 0.1)  # they die: nothing is finished
    once = quick_settings(settings).model_copy(update={"poison_attempts": 1})

    class Killer(Ears):
        tries = 0

        async def hear(self, tx: Tx, items: Sequence[Item[MessageDelivered]]) -> list[Outcome]:
            self.tries += 1
            await asyncio.Event().wait()  # until the reader is torn down
            raise AssertionError

    spoilt, killer = Needing(spoilt=True), Killer()
    async with running(settings, tenant, "earn", {Say: say}) as service:
        async with running(settings, tenant, "redeem", {MessageDelivered: spoilt.hear}, hears=("earn",)):
            await service.lane.submit(by_job(Say("first")))
            letters = await _dead(settings, tenant, open_=1)
        await _retry(settings, tenant, letters["1-0"])
        async with running(once, tenant, "redeem", {MessageDelivered: killer.hear}, hears=("earn",)):
            await eventually(lambda: killer.tries == 1)
        async with running(once, tenant, "redeem", {MessageDelivered: killer.hear}, hears=("earn",)):
            async with asyncio.timeout(PATIENCE_S / 3):
                await _dead(settings, tenant, open_=1)
    assert killer.tries == 1
    db = await connect_as(settings, tenant, "auditor")
    assert await db.fetchval("SELECT code FROM redeem.dead_letters") == "delivery_limit"
    await db.close()


async def test_an_entry_that_also_spoils_its_burial_is_buried_without_what_its_service_says_of_it(
    settings: Settings, tenant: Tenant
) -> None:
    """As where a service reads an entry once more to answer its till, and can't."""
    spoilt = Needing(spoilt=True)
    told: list[str] = []

    async def tell(tx: Tx, item: Item[Any], code: str, detail: str, errors: Sequence[FieldError]) -> None:
        told.append(code)
        raise RuntimeError("it can't be read")

    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(
            quick_settings(settings),
            tenant,
            "redeem",
            {MessageDelivered: spoilt.hear},
            hears=("earn",),
            buried=tell,
        ),
    ):
        await service.lane.submit_many([by_job(Say("first")), by_job(Say("later"))])
        async with asyncio.timeout(PATIENCE_S / 3):
            assert list(await _dead(settings, tenant, open_=1)) == ["1-0"]
        await eventually(lambda: spoilt.heard == [2])
    assert told
