"""Who waits in the lane, how long, and for whom: one item's trouble is not its neighbours' time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from shared.config import Settings
from shared.db import role_of
from shared.errors import Refusal
from shared.messaging import Done, FromStream, Item, Outcome, Tx
from shared.messaging.faults import Fault, classify
from shared.messaging.inbox import HeardInPart, hear, runs_of
from shared.tenants import Tenant
from tests.support.patience import PATIENCE_S
from tests.support.speaking import Say, by_http, by_job, heard_by_stream, say
from tests.support.tenants import connect_as, running


@asynccontextmanager
async def nobody_may_log_in(settings: Settings, tenant: Tenant, service: str) -> AsyncIterator[None]:
    role = role_of(tenant.code, service)
    admin = await asyncpg.connect(settings.admin_dsn())
    await admin.execute(f"ALTER ROLE {role} NOLOGIN")
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
    try:
        yield
    finally:
        await admin.execute(f"ALTER ROLE {role} LOGIN")
        await admin.close()


@asynccontextmanager
async def being_heard(
    settings: Settings, tenant: Tenant, *entries: int
) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Another process is writing these entries of earn's stream, and does not come to an end."""
    db = await connect_as(settings, tenant, "redeem")
    try:
        await db.execute("BEGIN")
        await hear(db, runs_of("earn", entries))
        yield db
    finally:
        await db.close()


def delivered_often(n: int) -> Item[Say]:
    """An entry that was delivered to three readers: it is tried alone."""
    item = heard_by_stream(n, Say(f"suspect {n}"))
    item.origin = FromStream("earn", n, deliveries=3)
    return item


async def tries(settings: Settings, tenant: Tenant) -> list[int]:
    db = await connect_as(settings, tenant, "auditor")
    try:
        return [row["tries"] for row in await db.fetch("SELECT tries FROM redeem.attempts WHERE tries > 0")]
    finally:
        await db.close()


@pytest.mark.parametrize(
    "first", [heard_by_stream(1, Say("a")), delivered_often(1)], ids=["batch", "suspect"]
)
async def test_calls_behind_a_batch_that_is_tried_for_ever_are_answered_in_time(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, first: Item[Say]
) -> None:
    monkeypatch.setattr("shared.messaging.lane.HTTP_PATIENCE_S", 0.3)
    async with running(settings, tenant, "redeem", {Say: say}) as service:
        async with nobody_may_log_in(settings, tenant, "redeem"):
            entry = asyncio.create_task(service.lane.submit(first))
            await asyncio.sleep(0.05)
            assert service.lane.depth == 0, "the entry is being tried"
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(Refusal) as refused:
                    await service.lane.submit(by_http(Say("b"), "key"))
            assert not entry.done()
        assert refused.value.code == "tenant_unavailable"
        assert "same key" in refused.value.detail
        assert await entry == Done(201, b'{"said":"%s"}' % first.command.subject.encode())


async def test_a_suspect_whose_lock_is_held_elsewhere_does_not_hold_the_lane(
    settings: Settings, tenant: Tenant
) -> None:
    settings = settings.model_copy(update={"lock_timeout_ms": 50})
    async with running(settings, tenant, "redeem", {Say: say}) as service:
        async with being_heard(settings, tenant, 1):
            suspect = asyncio.create_task(service.lane.submit(delivered_often(1)))
            await asyncio.sleep(0.3)
            async with asyncio.timeout(PATIENCE_S):
                assert await service.lane.submit(by_job(Say("b"))) == Done(201, b'{"said":"b"}')
            assert not suspect.done()
        assert await suspect == Done(201, b'{"said":"suspect 1"}')
    assert await tries(settings, tenant) == [], "it was not its fault"


async def test_a_suspect_that_waits_for_a_lock_has_no_try_against_it_should_its_process_die(
    settings: Settings, tenant: Tenant
) -> None:
    settings = settings.model_copy(update={"lock_timeout_ms": 50})
    async with running(settings, tenant, "redeem", {Say: say}) as service:
        async with being_heard(settings, tenant, 1):
            suspect = asyncio.create_task(service.lane.submit(delivered_often(1)))
            await asyncio.sleep(0.3)
            seen = [await tries(settings, tenant) for _ in range(20)]
            assert not suspect.done()
        await suspect
    assert [] in seen, "a try is counted while it is made, not while it is waited"
    assert all(found in ([], [1]) for found in seen), seen


async def test_a_call_whose_second_try_meets_a_lock_waits_for_it(settings: Settings, tenant: Tenant) -> None:
    """It failed at first, and alone it finds a lock held elsewhere: that is no error of the call's."""
    settings = settings.model_copy(update={"lock_timeout_ms": 50})
    steps = ["SELECT 1 / 0", "SELECT pg_advisory_xact_lock(7)"]

    async def unlucky(tx: Tx, items: Sequence[Item[Say]]) -> list[Outcome]:
        if steps:
            await tx.db.execute(steps.pop(0))
        return await say(tx, items)

    holder = await connect_as(settings, tenant, "redeem")
    async with running(settings, tenant, "redeem", {Say: unlucky}) as service:
        await holder.execute("SELECT pg_advisory_lock(7)")
        assert await service.lane.submit(by_http(Say("a"), "key")) == Done(201, b'{"said":"a"}')
    await holder.close()
    assert steps == []


async def test_two_that_hear_the_same_entries_never_wait_for_each_other(
    settings: Settings, tenant: Tenant
) -> None:
    """One batch holds what comes later in the stream and asks again for what came before; another holds just that, and wants
    what comes later."""
    async with running(settings, tenant, "redeem", {Say: say}) as service:
        await service.lane.submit(heard_by_stream(5, Say("5")))
        async with being_heard(settings, tenant, 3) as other:
            batch = [heard_by_stream(n, Say(str(n))) for n in (1, 2, 3, 4, 5, 20, 21)]
            written = asyncio.create_task(service.lane._writer.write(batch, say))
            await asyncio.sleep(0.3)
            assert not written.done(), "it waits for entry 3"
            assert await hear(other, [("earn", 20, 20)]) == []
            await other.execute("COMMIT")
            outcomes = await written
    assert [outcome.replayed for outcome in outcomes] == [False, False, True, False, True, True, False]


async def test_what_was_heard_in_part_is_told_before_anything_later_is_asked_again(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "redeem", {Say: say}) as service:
        await service.lane.submit(heard_by_stream(5, Say("5")))
        async with service.read() as db, db.transaction():
            assert await hear(db, [("earn", 4, 6)]) == [("earn", 5)], "nothing later is held"
        async with service.read() as db:
            with pytest.raises(HeardInPart):
                await hear(db, [("earn", 4, 6), ("earn", 20, 20)])
        async with service.read() as db:
            again = runs_of("earn", (7, 5, 30))
            assert await hear(db, again, singly=True) == [("earn", 5)]


async def test_a_value_that_the_driver_can_not_send_is_the_items_fault(
    settings: Settings, tenant: Tenant
) -> None:
    db = await connect_as(settings, tenant, "redeem")
    for value in ("word", 2**40):
        with pytest.raises(asyncpg.DataError) as error:
            await db.fetchval("SELECT $1::int", value)
        assert classify(error.value) is Fault.ITEM
    await db.close()
