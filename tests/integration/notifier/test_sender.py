"""The sender under steady work, and when its reads fail: nothing waits for a pause, and no lease for nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from services.notifier.channels import Answers, Message
from services.notifier.domain import GIVE_UP_AFTER
from services.notifier.handlers import ON
from services.notifier.outgoing import outgoing
from services.notifier.sender import POLL_S, send_due
from shared.config import Settings
from shared.db import connect
from shared.ids import uuid7
from shared.metrics import Metrics
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from shared.tenants.provision import dsn_for
from tests.integration.notifier.test_messages import Outbox, channel, hear, send, states  # noqa: F401
from tests.support.facts import activated, autumn_2026, credited, enrolled
from tests.support.tenants import running


@pytest.fixture
async def member(notifier: TenantRuntime) -> tuple[UUID, UUID]:
    made = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(*made))
    return made


async def earn(runtime: TenantRuntime, member: tuple[UUID, UUID], *points: int) -> None:
    await hear(runtime, *[credited(member[1], each, member_id=member[0]) for each in points])


def numbers(outbox: Outbox) -> list[str]:
    return [message.text.split()[2] for message in outbox.sent]


def last_asked(runtime: TenantRuntime, *, pauses_ago: float) -> None:
    """When the sender last asked the table for what nobody holds."""
    outgoing(runtime.cache).claimed_at = time.monotonic() - pauses_ago * POLL_S


async def test_a_busy_sender_still_sends_what_others_left(
    settings: Settings,
    tenant: Tenant,
    notifier: TenantRuntime,
    channel: Outbox,  # noqa: F811
    member: tuple[UUID, UUID],
) -> None:
    """What another process made and left, and what failed before: both get their turn though there is always more to do."""
    async with running(settings, tenant, "notifier", ON, clock=autumn_2026) as other:
        await earn(other, member, 100)
        channel.broken = True
        assert await send(other, channel) == 1
        channel.broken = False
        await earn(other, member, 200)
    async with notifier.read() as db:
        await db.execute("UPDATE deliveries SET due_at = clock_timestamp() - interval '1 second'")
        await db.execute("UPDATE dispatches SET claimed_until = NULL WHERE settled_at IS NULL")
    for k, pauses_ago in enumerate((0, 1.01, 0, 1.01, 0)):
        await earn(notifier, member, k + 1)
        last_asked(notifier, pauses_ago=pauses_ago)
        await send(notifier, channel)
    assert numbers(channel) == ["1", "200", "2", "3", "100", "4", "5"], "its own wait one turn"
    assert await states(notifier) == {"delivered": 7}


async def test_a_busy_sender_does_not_ask_the_table_all_the_time(
    notifier: TenantRuntime,
    channel: Outbox,  # noqa: F811
    member: tuple[UUID, UUID],
) -> None:
    turns = outgoing(notifier.cache).turn
    for k in range(3):
        await earn(notifier, member, 1 + k)
        last_asked(notifier, pauses_ago=0)
        assert await send(notifier, channel) == 1
    assert outgoing(notifier.cache).turn == turns


@asynccontextmanager
async def names_unreadable(settings: Settings, tenant: Tenant) -> AsyncIterator[None]:
    admin = await connect(dsn_for(settings, tenant.database))
    await admin.execute("ALTER TABLE notifier.programmes RENAME TO out_of_reach")
    try:
        yield
    finally:
        await admin.execute("ALTER TABLE notifier.out_of_reach RENAME TO programmes")
        await admin.close()


async def test_what_was_taken_is_put_back_when_a_read_fails(
    settings: Settings,
    tenant: Tenant,
    notifier: TenantRuntime,
    channel: Outbox,  # noqa: F811
    member: tuple[UUID, UUID],
) -> None:
    async with running(settings, tenant, "notifier", ON, clock=autumn_2026) as other:
        await earn(other, member, 100)
    async with notifier.read() as db:
        await db.execute("UPDATE dispatches SET claimed_until = NULL WHERE settled_at IS NULL")
    await earn(notifier, member, 1)
    await earn(notifier, member, 2)
    async with names_unreadable(settings, tenant):
        for pauses_ago in (1.01, 0):  # what it claims, and what it has made
            last_asked(notifier, pauses_ago=pauses_ago)
            with pytest.raises(asyncpg.UndefinedTableError):
                await send(notifier, channel)
    while await send(notifier, channel):
        pass
    assert sorted(numbers(channel)) == ["1", "100", "2"]
    async with notifier.read() as db:
        rows = await db.fetch("SELECT settled_at IS NOT NULL, attempts, takeovers FROM dispatches")
    assert sorted(tuple(row) for row in rows) == [(True, 1, 0), (True, 1, 0), (True, 2, 0)], (
        "no lease ran out"
    )


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> float:
    """A lease, in seconds, that a test can wait for; sending may take as long as ever."""
    lease = 1.0
    for module in ("outgoing", "sender"):
        monkeypatch.setattr(f"services.notifier.{module}.LEASE_S", lease)
        monkeypatch.setattr(f"services.notifier.{module}.LEASE", timedelta(seconds=lease))
    return lease


@pytest.mark.parametrize("own", [True, False], ids=["made here", "on their own way"])
async def test_a_sender_that_takes_longer_than_its_lease_keeps_its_messages(
    settings: Settings,
    tenant: Tenant,
    notifier: TenantRuntime,
    channel: Outbox,  # noqa: F811
    member: tuple[UUID, UUID],
    short_lease: float,
    own: bool,
) -> None:
    if not own:
        channel.broken = True
    await earn(notifier, member, 1, 2)
    if not own:
        await send(notifier, channel)
        channel.broken = False
        async with notifier.read() as db:
            await db.execute("UPDATE deliveries SET due_at = clock_timestamp() - interval '1 second'")
    async with running(settings, tenant, "notifier", ON, clock=autumn_2026) as other:

        async def slow(messages: Sequence[Message]) -> Answers:
            for _ in range(4):
                await asyncio.sleep(short_lease / 2)
                assert await send(other, channel) == 0
            async for answer in channel.send(messages):
                yield answer

        assert await send_due(notifier, {"log": slow}) == 2
    assert (sorted(numbers(channel)), await states(notifier)) == (["1", "2"], {"delivered": 2})
    async with notifier.read() as db:
        assert await db.fetchval(f"SELECT max(takeovers) FROM {'dispatches' if own else 'deliveries'}") == 0


async def test_a_sender_that_can_not_renew_sends_nothing_after_its_lease(
    settings: Settings,
    tenant: Tenant,
    notifier: TenantRuntime,
    channel: Outbox,  # noqa: F811
    member: tuple[UUID, UUID],
    short_lease: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another may be sending them by then: who can reach PostgreSQL no more stops in time, and has no say."""

    async def unreachable(*_: object, **__: object) -> set[object]:
        raise ConnectionRefusedError

    monkeypatch.setattr("services.notifier.store.renew", unreachable)
    await earn(notifier, member, 1)
    async with running(settings, tenant, "notifier", ON, clock=autumn_2026) as other:

        async def slow(messages: Sequence[Message]) -> Answers:
            try:
                await asyncio.sleep(60)
            finally:
                outgoing(other.cache).failed_at = time.monotonic()
                assert await send(other, channel) == 0, (
                    "it could not ask either: the first has a lease's time"
                )
                outgoing(other.cache).failed_at = float("-inf")
                while not await send(other, channel):
                    await asyncio.sleep(0.02)
            yield messages[0], None

        assert await send_due(notifier, {"log": slow}) == 1
    assert (numbers(channel), await states(notifier)) == (["1"], {"delivered": 1})


@pytest.mark.parametrize("table", ["dispatches", "deliveries"])
async def test_what_kills_its_senders_is_given_up_and_told(
    notifier: TenantRuntime,
    channel: Outbox,  # noqa: F811
    member: tuple[UUID, UUID],
    table: str,
) -> None:
    """A sender that dies can't count a failure: its claim did."""
    await earn(notifier, member, 1, 2)
    if table == "deliveries":
        channel.broken = True
        await send(notifier, channel)
        channel.broken = False
    else:
        outgoing(notifier.cache).take()
    due = ", due_at = clock_timestamp()" if table == "deliveries" else ""
    async with notifier.read() as db:
        await db.execute(
            f"UPDATE {table} SET claimed_until = clock_timestamp() - interval '1 second', attempts = $1{due}",
            GIVE_UP_AFTER,
        )
    before = failed(notifier)
    assert await send(notifier, channel) == 2
    assert (channel.sent, await states(notifier)) == ([], {"failed": 2})
    assert failed(notifier) - before == 2
    async with notifier.read() as db:
        rows = await db.fetch("SELECT error, attempts FROM deliveries")
        assert await db.fetchval("SELECT count(*) FROM dispatches WHERE settled_at IS NULL") == 0
    assert [tuple(row) for row in rows] == [("SendersDied", GIVE_UP_AFTER + 1)] * 2
    assert await send(notifier, channel) == 0


def failed(runtime: TenantRuntime) -> float:
    metrics = runtime.cache[Metrics]
    assert isinstance(metrics, Metrics)
    labels = {"service": "notifier", "tenant": runtime.code, "channel": "log", "outcome": "failed"}
    return metrics.registry.get_sample_value("pointbank_messages_total", labels) or 0.0
