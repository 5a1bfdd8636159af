"""Tenants that nobody uses rest, cost nothing, and are there again when they are needed."""

import asyncio
import secrets
import time
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from pointbank.waking import ask_to_wake
from services.earn.resting import next_due as earn_due
from services.notifier.store import next_due as notifier_due
from services.redeem.resting import next_due as redeem_due
from shared.budget import Budget
from shared.clock import real_clock
from shared.config import Settings
from shared.db import Connection
from shared.jobs import Job
from shared.messaging.bus import redis_client
from shared.messaging.keys import Keys
from shared.messaging.watch import Watch, hint
from shared.runtime import TenantRuntime, open_tenant_pool
from shared.tenants import Tenant
from tests.support.patience import PATIENCE_S
from tests.support.serving import hearer, only_tenant, own_directory, resting, serving, speaker, until
from tests.support.speaking import Ears, Say, by_job, say
from tests.support.tenants import running


@pytest.fixture
async def own(settings: Settings) -> Settings:
    """A directory of this test's own, whose tenants rest soon."""
    return await own_directory(settings, rest_after_s=0.2, look_every_s=600.0)


@pytest.fixture
async def alone(own: Settings) -> Tenant:
    """Its only tenant."""
    return await only_tenant(own)


async def test_a_tenant_at_rest_has_no_connection_and_hears_the_next_entry(
    own: Settings, alone: Tenant
) -> None:
    ears = Ears()
    admin = await asyncpg.connect(own.postgres_dsn, database=alone.database)

    async def connections() -> int:
        found = await admin.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            alone.database,
        )
        return int(found)

    try:
        async with serving(own, speaker()) as earn, serving(own, hearer(ears)) as redeem:
            for turn in (1, 2):
                await until(lambda: resting(earn, alone) and resting(redeem, alone))
                async with asyncio.timeout(PATIENCE_S):
                    while await connections():
                        await asyncio.sleep(0.05)
                checks = {check.name: check.ok for check in redeem.checks()}
                assert all(checks.values())
                assert f"rest:{alone.code}" in checks, "it is served, and says that it rests"
                runtime = earn.tenant(alone.code)  # as a call does
                await runtime.lane.submit(by_job(Say("one")))
                await until(lambda turn=turn: ears.heard == list(range(1, turn + 1)))  # type: ignore[misc]
    finally:
        await admin.close()


async def test_what_another_process_left_is_told_when_somebody_asks_or_looks(
    own: Settings, alone: Tenant
) -> None:
    redis = redis_client(own.redis_url)
    stream = Keys(own.cell, alone.code).stream("earn")

    async def leave() -> None:
        """As a command does, or a process that dies after its commit: nothing relays what it wrote."""
        pool = await open_tenant_pool(own, alone, "earn")
        async with running(own, alone, "earn", {Say: say}) as other:
            await other.relay.stop()
            assert other._relaying is not None
            await other._relaying
            await other.lane.submit(by_job(Say("left")))
            other.relay._woken.clear()
            assert other._relaying.done()
        await pool.close()

    async def told(count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await redis.xlen(stream) < count:
                await asyncio.sleep(0.02)

    try:
        async with serving(own, speaker()) as earn:
            await until(lambda: resting(earn, alone))
            await leave()
            await asyncio.sleep(0.3)
            assert await redis.xlen(stream) == 0, "nobody knows of it"
            await ask_to_wake(own, alone.code)
            await told(1)
        often = own.model_copy(update={"look_every_s": 0.5})
        async with serving(often, speaker()) as earn:
            await until(lambda: resting(earn, alone))
            await leave()
            await told(2)
    finally:
        await redis.aclose()


async def test_nobody_rests_over_what_waits_and_everybody_wakes_for_what_falls_due(
    own: Settings, alone: Tenant
) -> None:
    due: list[datetime | None] = []

    async def next_due(db: Connection, now: datetime) -> datetime | None:
        assert await db.fetchval("SELECT current_user") == f"pb_{alone.code}_redeem"
        due.append(now)
        return now if len(due) < 3 else now + timedelta(seconds=0.5) if len(due) == 3 else None

    async with serving(own, hearer(Ears(), next_due=next_due)) as redeem:
        await until(lambda: len(due) == 3 and resting(redeem, alone))
        at = time.monotonic()
        await until(lambda: len(due) == 4 and resting(redeem, alone))
        assert time.monotonic() - at >= 0.5


async def test_a_job_that_failed_wakes_who_rests_when_it_is_due_again(own: Settings, alone: Tenant) -> None:
    tried: list[float] = []

    async def fails(_: TenantRuntime) -> None:
        tried.append(time.monotonic())
        raise OSError("no folder")

    async with serving(own, hearer(Ears(), jobs=[Job("seal", 200.0, fails)])) as redeem:
        await until(lambda: bool(tried) and resting(redeem, alone))
        woken_at = redeem._tending._look_at[alone.code]
        assert 200.0 <= woken_at - tried[0] < 200.0 + PATIENCE_S, "a look alone comes after 300 s and more"


async def test_a_process_whose_clock_is_ahead_hears_hints_as_any(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + 3600)
    redis = redis_client(settings.redis_url)
    async with redis:
        watch = Watch(redis, settings.cell)
        await watch.moved(block_ms=1)
        code = f"t{secrets.token_hex(4)}"
        await hint(redis, settings.cell, [code])
        async with asyncio.timeout(PATIENCE_S):
            while code not in (await watch.moved(block_ms=100)).tenants:
                pass


async def test_a_process_that_begins_while_redis_is_full_sees_what_fills_it(settings: Settings) -> None:
    """It takes no entry more, nor a hint; who hears what is there acknowledges it, and there is room again."""
    redis: Any = redis_client(settings.redis_url)
    async with redis:
        stream = f"pb:{{{settings.cell}}}:t{secrets.token_hex(4)}:pos"
        await redis.xadd(stream, {"event": "offered"})
        watch = Watch(redis, settings.cell)
        watch.add({stream: "0-0"})
        await redis.config_set("maxmemory", "1mb")
        try:
            assert (await watch.moved(block_ms=1)).streams == {stream}
        finally:
            await redis.config_set("maxmemory", "0")
        watch.drop([stream])
        await watch.moved(block_ms=1)
        code = f"t{secrets.token_hex(4)}"
        await hint(redis, settings.cell, [code])
        async with asyncio.timeout(PATIENCE_S):
            while code not in (await watch.moved(block_ms=100)).tenants:
                pass
        await redis.delete(stream)


async def test_a_process_has_no_more_connections_than_its_budget(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.budget.WAIT_S", 0.2)
    budget = Budget(2)
    one = await open_tenant_pool(settings, tenant, "earn", budget)
    other = await open_tenant_pool(settings, tenant, "redeem", budget)
    async with one, other:
        async with one.acquire(), one.acquire():
            with pytest.raises(asyncpg.TooManyConnectionsError, match="POINTBANK_CONNECTIONS"):
                await other.fetchval("SELECT 1")
            waiting = asyncio.create_task(other.fetchval("SELECT current_user::text"))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        # One of those that stand idle now is closed for it.
        assert await waiting == f"pb_{tenant.code}_redeem"
        assert (budget.open, one.get_size(), other.get_size()) == (2, 1, 1)
        async with other.acquire(), other.acquire():
            assert (budget.open, one.get_size()) == (2, 0)
    await asyncio.sleep(0)
    assert budget.open == 0


LATER = timedelta(hours=1)
PATIENCE = timedelta(seconds=PATIENCE_S)
WAITS = {
    "earn": (
        earn_due,
        """
        INSERT INTO earn.hold_plans (accrual_id, rule, bill_id, wallet_id, programme, currency, point_value, points, until,
            billed_on, days, last_on, zone, next_at)
        VALUES (gen_random_uuid(), 'r', gen_random_uuid(), gen_random_uuid(), 'p', 'SAR', '1', 5, 'date', '2026-01-01', 1,
            '2026-01-02', 'UTC', $1)
        """,
        """
        INSERT INTO earn.waiting (bill_id, recorded_at, kind, key, taken_at, since_ms, n, sequence, request_id)
        VALUES (gen_random_uuid(), now(), 'member', 'k', now(), 0, 1, 1, 'r')
        """,
    ),
    "redeem": (
        redeem_due,
        """
        INSERT INTO redeem.reservations (redemption_id, wallet_id, code_hash, points, expires_at)
        VALUES (gen_random_uuid(), gen_random_uuid(), sha256('c'), 5, $1)
        """,
        "UPDATE redeem.reservations SET expires_at = '2026-01-01'",
    ),
    "notifier": (
        notifier_due,
        """
        WITH m AS (
            INSERT INTO notifier.members (member_id, locale, consented, enrolled_at)
            VALUES (gen_random_uuid(), 'en', true, now())
            RETURNING member_id
        )
        INSERT INTO notifier.deliveries (message_id, member_id, due_at) SELECT gen_random_uuid(), m.member_id, $1 FROM m
        """,
        "INSERT INTO notifier.dispatches (dispatch_id, attempts) VALUES (gen_random_uuid(), 0)",
    ),
}


async def test_each_service_knows_when_something_falls_due_that_only_time_brings(
    settings: Settings, tenant: Tenant
) -> None:
    """Of a message PostgreSQL's clock says it: whoever's own stands three hours behind waits for it no longer."""
    now = real_clock()
    admin = await asyncpg.connect(settings.postgres_dsn, database=tenant.database)
    await admin.execute("SET session_replication_role = replica")  # what these rows refer to is of no matter
    try:
        for service, (next_due, later, waiting) in WAITS.items():
            async with await open_tenant_pool(settings, tenant, service) as pool, pool.acquire() as db:
                assert await next_due(db, now) is None, service
                await admin.execute(later, now + LATER)
                for shown in (now, now - 3 * LATER) if service == "notifier" else (now,):
                    due = await next_due(db, shown)
                    assert due is not None, service
                    assert shown + LATER - PATIENCE < due <= shown + LATER, service
                await admin.execute(waiting)
                due = await next_due(db, now)
                assert due is not None, service
                assert due <= now, service
    finally:
        await admin.close()
