"""The relay: dense ids by snapshot difference, compare and append, and streams that come back whatever Redis loses."""

import asyncio
import hashlib
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from shared import runtime
from shared.config import Settings
from shared.db import role_of
from shared.events import MessageDelivered
from shared.ids import uuid7
from shared.messaging.bus import redis_client
from shared.messaging.queries import queries
from shared.messaging.relay import GENESIS, Halted, Relay
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from shared.tenants.provision import create_tenant, dsn_for
from tests.support.patience import PATIENCE_S
from tests.support.speaking import Ears, Say, by_job, eventually, quick_settings, say
from tests.support.tenants import connect_as, running


async def tell(service: TenantRuntime, count: int, *, start: int = 0) -> None:
    await service.lane.submit_many([by_job(Say(str(start + k))) for k in range(count)])


async def published(service: TenantRuntime) -> list[int]:
    entries: Any = await service.redis.xrange(service.keys.stream("earn"))
    return [int(entry_id.split(b"-")[0]) for entry_id, _ in entries]


async def until_published(service: TenantRuntime, n: int) -> list[int]:
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await published(service)) or found[-1] != n:
            await asyncio.sleep(0.02)
    return found


def refilled(service: TenantRuntime) -> float:
    """How many events were published again, as it counts them."""
    labels = {"service": "earn", "tenant": service.code}
    return service.metrics.registry.get_sample_value("pointbank_relay_refilled_total", labels) or 0


async def test_events_get_dense_ids_without_gap_or_repeat(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        for k in range(20):
            await tell(service, 25, start=25 * k)
        assert await until_published(service, 500) == list(range(1, 501))


async def test_a_transaction_that_commits_late_is_told_and_nothing_waits_for_it(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        slow = await connect_as(settings, tenant, "earn")
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(
            "INSERT INTO outbox (event_id, payload) VALUES ($1, $2)", uuid7(), b'{"late": true}'
        )
        await tell(service, 10)
        assert await until_published(service, 10) == list(range(1, 11))
        await transaction.commit()
        await tell(service, 1)
        await until_published(service, 12)
        entries: Any = await service.redis.xrange(service.keys.stream("earn"), min="11-0")
        await slow.close()
    assert sorted(fields[b"event"] == b'{"late": true}' for _, fields in entries) == [False, True]


async def test_events_of_one_transaction_keep_their_order(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 300)
        await until_published(service, 300)
        entries: Any = await service.redis.xrange(service.keys.stream("earn"))
    import json

    assert [json.loads(fields[b"event"])["subject"] for _, fields in entries] == [str(k) for k in range(300)]


async def test_what_is_published_is_what_the_outbox_keeps_whoever_told_it(
    settings: Settings, tenant: Tenant
) -> None:
    """A relay need not read back what its own process told; what another told, or a mixture, it does."""
    db = await connect_as(settings, tenant, "earn")
    async with running(settings, tenant, "earn", {Say: say}) as service:
        for k in range(4):
            await db.execute(
                "INSERT INTO outbox (event_id, payload) VALUES ($1, $2)", uuid7(), b'{"k": %d}' % k
            )
            await tell(service, 300, start=300 * k)
        await until_published(service, 1204)
        entries: Any = await service.redis.xrange(service.keys.stream("earn"))
    kept = await db.fetch("SELECT payload FROM outbox")
    await db.close()
    assert sorted(fields[b"event"] for _, fields in entries) == sorted(row["payload"] for row in kept)


async def test_what_was_told_just_before_a_stop_is_published_before_it(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        for k in range(3):  # the last of them falls into the breath after the first
            await tell(service, 1, start=k)
        redis, stream = redis_client(settings.redis_url), service.keys.stream("earn")
    assert await redis.xlen(stream) == 3
    await redis.aclose()


async def test_a_relay_that_cannot_finish_its_last_turn_is_ended_and_connects_to_nobody_afterwards(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "LAST_TURN_S", 0.05)
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 1)
        await until_published(service, 1)
        await service.redis.client_pause(1_000)
        await tell(service, 1, start=1)
    assert service._relaying is not None
    ended = service._relaying.done()
    await asyncio.wait([service._relaying], timeout=PATIENCE_S)
    pool: Any = service.relay._redis.connection_pool
    left = [one for one in (*pool._available_connections, *pool._in_use_connections) if one.is_connected]
    await pool.disconnect()
    assert (ended, left) == (True, [])


async def test_a_fault_that_nobody_foresaw_does_not_end_the_relay(settings: Settings, tenant: Tenant) -> None:
    role = role_of(tenant.code, "earn")
    admin = await asyncpg.connect(settings.admin_dsn(), database=tenant.database)
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await admin.execute(f"REVOKE SELECT ON earn.cuts FROM {role}")
        await tell(service, 3)
        await eventually(lambda: "permission denied" in (service.relay.trouble(after_s=30) or ""))
        await admin.execute(f"GRANT SELECT ON earn.cuts TO {role}")
        assert await until_published(service, 3) == [1, 2, 3]
        assert service.relay.trouble(after_s=30) is None
    await admin.close()


async def test_many_relays_make_one_stream(settings: Settings, tenant: Tenant) -> None:
    async with (
        running(settings, tenant, "earn", {Say: say}) as one,
        running(settings, tenant, "earn", {Say: say}) as other,
    ):
        await asyncio.gather(*[tell(service, 20) for _ in range(20) for service in (one, other)])
        assert await until_published(one, 800) == list(range(1, 801))


async def test_an_emptied_redis_is_filled_again(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 700)
        before: Any = await until_published(service, 700)
        await service.redis.delete(service.keys.stream("earn"), service.keys.head("earn"))
        await tell(service, 1)
        assert await until_published(service, 701) == [*before, 701]
        await eventually(lambda: refilled(service) == 700)


async def test_a_tail_that_redis_lost_is_published_again(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        stream, head = service.keys.stream("earn"), service.keys.head("earn")
        await tell(service, 300)
        await until_published(service, 300)
        saved: Any = await service.redis.dump(stream)
        saved_head: Any = await service.redis.dump(head)
        await tell(service, 650)
        await until_published(service, 950)
        await service.redis.restore(stream, 0, saved, replace=True)
        await service.redis.restore(head, 0, saved_head, replace=True)
        await tell(service, 1)
        assert await until_published(service, 951) == list(range(1, 952))
        await eventually(lambda: refilled(service) == 650)


async def test_a_cut_that_lacks_a_row_halts_the_relay_and_nothing_of_it_is_published(
    settings: Settings, tenant: Tenant
) -> None:
    admin = await asyncpg.connect(dsn_for(settings, tenant.database))
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 3)
        await until_published(service, 3)
        assert await admin.fetchval("SELECT n FROM earn.cuts ORDER BY no DESC LIMIT 1") == 3
        await admin.execute(
            """
            SET session_replication_role = replica;
            DELETE FROM earn.outbox WHERE id = (SELECT max(id) FROM earn.outbox)
            """
        )
        await service.redis.delete(service.keys.stream("earn"), service.keys.head("earn"))
        await tell(service, 1)
        await eventually(lambda: "lacks its rows" in (service.relay.trouble(after_s=30) or ""))
        assert await published(service) == []
    await admin.close()


async def test_a_foreign_entry_in_the_stream_is_driven_out(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 5)
        await until_published(service, 5)
        await service.redis.xadd(service.keys.stream("earn"), {"event": "stray"})
        await tell(service, 1)
        assert await until_published(service, 6) == [1, 2, 3, 4, 5, 6]


async def test_a_stream_further_than_postgresql_halts_the_relay(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 5)
        await until_published(service, 5)
        await service.redis.hset(service.keys.head("earn"), mapping={"n": 9})
        await tell(service, 1)
        await eventually(lambda: "commits were lost" in (service.relay.trouble(after_s=30) or ""))
        assert await published(service) == [1, 2, 3, 4, 5]


async def test_what_another_relay_plans_and_has_heard_between_two_looks_of_a_first_comparison_is_no_loss(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:

        async def heard() -> int:
            """Five were planned, published and heard while the directory was on its way to be asked."""
            await tell(service, 5)
            await until_published(service, 5)
            return 5

        begins = Relay(
            pool=service.pool,
            redis=service.redis,
            keys=service.keys,
            service="earn",
            lowest_position=heard,
            highest_position=heard,
            metrics=service.metrics,
        )
        await begins.compare()
        await begins.compare()
        assert begins.trouble(after_s=30) == "not started"
        assert await published(service) == [1, 2, 3, 4, 5]


async def test_a_stream_that_tells_another_story_halts_the_relay(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 5)
        await until_published(service, 5)
        await service.redis.hset(service.keys.head("earn"), mapping={"hash": "00" * 32})
        await tell(service, 1)
        await eventually(lambda: "different stories" in (service.relay.trouble(after_s=30) or ""))
        assert await published(service) == [1, 2, 3, 4, 5]
        labels = {"service": "earn", "tenant": service.code, "invariant": "5"}
        assert service.metrics.registry.get_sample_value("pointbank_invariant_violations", labels) == 1


async def test_a_dump_on_a_server_that_counts_transactions_further_back_halts_the_relay_until_it_is_made_again(
    settings: Settings, tenant: Tenant
) -> None:
    """What is new there would be taken for told: it would be lost without a word."""
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 2)
        await until_published(service, 2)
    await from_further_on(settings, tenant, by=3_000)
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await eventually(lambda: "counts transactions" in (service.relay.trouble(after_s=30) or ""))
        with pytest.raises(Halted, match=f"pointbank tenant create {tenant.code}"):
            await service.relay.compare()
    await create_tenant(settings, tenant.code)
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 2)
        await until_published(service, 4)
        assert service.relay.trouble(after_s=30) is None


async def from_further_on(settings: Settings, tenant: Tenant, *, by: int) -> None:
    """The cuts say that they came from a server that had counted so many transactions more."""
    admin = await asyncpg.connect(dsn_for(settings, tenant.database))
    try:
        await admin.execute("SET session_replication_role = replica")
        await admin.execute(
            "UPDATE earn.cuts SET snapshot = format('%s:%s:', x, x)::pg_snapshot "
            "FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint + $1 AS x) AS further "
            "WHERE no = (SELECT max(no) FROM earn.cuts)",
            by,
        )
    finally:
        await admin.close()


async def test_a_relay_killed_between_cut_and_publish_is_completed_by_another(
    settings: Settings, tenant: Tenant
) -> None:
    db = await connect_as(settings, tenant, "earn")
    await db.executemany(
        "INSERT INTO outbox (event_id, payload) VALUES ($1, $2)", [(uuid7(), b"{}") for _ in range(3000)]
    )
    last = await queries.last_cut(db)
    cut = await queries.cut_outbox(db, started_at=last["started_at"], outbox=last["outbox"])
    # And no more: as if killed here.
    await db.close()
    assert cut["n"] == 3000
    async with running(settings, tenant, "earn", {Say: say}) as service:
        assert await until_published(service, 3000) == list(range(1, 3001))
        assert refilled(service) == 0, "Redis had lost nothing"


async def test_what_another_relay_has_cut_and_not_published_yet_is_no_loss(
    settings: Settings, tenant: Tenant
) -> None:
    async with (
        running(settings, tenant, "earn", {Say: say}) as one,
        running(settings, tenant, "earn", {Say: say}) as other,
    ):
        await tell(one, 5)
        await until_published(one, 5)
        await other.relay.compare()
        assert other._relaying is not None
        await other.relay.stop()
        await other._relaying
        db = await connect_as(settings, tenant, "earn")
        await db.execute("INSERT INTO outbox (event_id, payload) VALUES ($1, $2)", uuid7(), b"{}")
        last = await queries.last_cut(db)
        await queries.cut_outbox(db, started_at=last["started_at"], outbox=last["outbox"])
        await db.close()
        await one.relay.compare()
        assert await until_published(one, 6) == [1, 2, 3, 4, 5, 6]
        assert refilled(one) == refilled(other) == 0


async def test_a_stream_that_is_lost_when_all_have_heard_it_is_counted_too(
    settings: Settings, tenant: Tenant
) -> None:
    ears = Ears()
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(settings, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)),
        running(settings, tenant, "notifier", {MessageDelivered: ears.hear}, hears=("earn",)),
    ):
        await tell(service, 5)
        await eventually(lambda: len(ears.heard) == 10)
        async with asyncio.timeout(PATIENCE_S):
            while await service.relay._lowest_position() != 5:  # each hearer reports within a second
                await asyncio.sleep(0.05)
    # Another process begins: what was heard tells it how far the stream was.
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await service.redis.delete(service.keys.stream("earn"), service.keys.head("earn"))
        await eventually(lambda: refilled(service) == 1)
        await tell(service, 1)
        assert await until_published(service, 6) == [6]
        assert refilled(service) == 1


PILED_UP = 10_000


async def pile_up(settings: Settings, tenant: Tenant) -> list[tuple[UUID, bytes]]:
    """Events that were committed in many transactions and not cut; in their order."""
    admin = await asyncpg.connect(dsn_for(settings, tenant.database))
    try:
        for first in range(0, PILED_UP, 500):
            await admin.execute(
                "INSERT INTO earn.outbox (event_id, payload) "
                "SELECT gen_random_uuid(), convert_to(k::text, 'UTF8') FROM generate_series($1::int, $1 + 499) AS k",
                first,
            )
        rows = await admin.fetch("SELECT event_id, payload FROM earn.outbox ORDER BY id")
    finally:
        await admin.close()
    return [(row["event_id"], row["payload"]) for row in rows]


async def rows_read(settings: Settings, tenant: Tenant) -> int:
    """How many rows of earn's outbox PostgreSQL has looked at, as those who have hung up told."""
    admin = await asyncpg.connect(dsn_for(settings, tenant.database))
    try:
        return int(
            await admin.fetchval(
                "SELECT coalesce(sum(idx_tup_fetch + seq_tup_read), 0) FROM pg_stat_user_tables "
                "WHERE schemaname = 'earn' AND relname LIKE 'outbox%'"
            )
        )
    finally:
        await admin.close()


async def test_what_has_piled_up_is_read_a_few_times_and_not_once_for_each_page(
    settings: Settings, tenant: Tenant
) -> None:
    """A relay that was halted for a night would need days, and each page longer than a statement may."""
    committed = await pile_up(settings, tenant)
    before = await rows_read(settings, tenant)
    async with running(settings, tenant, "earn", {Say: say}) as service:
        assert await until_published(service, PILED_UP) == list(range(1, PILED_UP + 1))
        entries: Any = await service.redis.xrange(service.keys.stream("earn"))
        assert [fields[b"event"] for _, fields in entries] == [payload for _, payload in committed]
        hasher = hashlib.sha256(GENESIS)
        for event_id, _ in committed[:7_777]:
            hasher.update(event_id.bytes)
        assert await service.relay.hash_at(7_777) == hasher.hexdigest()
    assert await rows_read(settings, tenant) - before < 8 * PILED_UP


async def test_who_reads_much_waits_for_its_turn_without_a_connection(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.cuts.AT_ONCE", 600)
    async with running(quick_settings(settings), tenant, "earn", {Say: say}) as service:
        turns = service.relay._catching_up = asyncio.Semaphore(1)
        async with turns:
            for _ in range(2):
                await tell(service, 700)
            await until_published(service, 1400)
            await service.redis.delete(service.keys.stream("earn"), service.keys.head("earn"))
            service.relay.wake()
            await eventually(lambda: turns._waiters is not None and len(turns._waiters) == 1)
            assert service.pool.get_idle_size() == service.pool.get_size(), "nobody holds a connection"
            assert await published(service) == []
        assert await until_published(service, 1400) == list(range(1, 1401))


async def test_what_takes_longer_to_cut_than_a_statement_may_is_cut(
    settings: Settings, tenant: Tenant
) -> None:
    admin = await asyncpg.connect(dsn_for(settings, tenant.database))
    try:
        await admin.execute(
            """
            CREATE FUNCTION earn.be_slow() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_catalog.pg_sleep(1); RETURN NEW; END $$;
            CREATE TRIGGER be_slow BEFORE INSERT ON earn.cuts FOR EACH ROW EXECUTE FUNCTION earn.be_slow()
            """
        )
        async with running(quick_settings(settings), tenant, "earn", {Say: say}) as service:
            await tell(service, 3)
            assert await until_published(service, 3) == [1, 2, 3]
    finally:
        await admin.execute("DROP TRIGGER be_slow ON earn.cuts")
        await admin.close()


async def test_the_published_chain_is_the_one_in_postgresql(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 40)
        await until_published(service, 40)
        head: Any = await service.redis.hgetall(service.keys.head("earn"))
    db = await connect_as(settings, tenant, "auditor")
    hash_ = await db.fetchval("SELECT encode(hash, 'hex') FROM earn.cuts ORDER BY no DESC LIMIT 1")
    await db.close()
    assert (head[b"n"], head[b"hash"]) == (b"40", hash_.encode())


async def test_nothing_is_trimmed_while_a_required_group_is_missing(
    settings: Settings, tenant: Tenant
) -> None:
    ears = Ears()
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(settings, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)),
    ):
        await tell(service, 100)
        await eventually(lambda: len(ears.heard) == 100)
        await service.housekeeping._trim()
        assert len(await published(service)) == 100
        others = Ears()
        async with running(settings, tenant, "notifier", {MessageDelivered: others.hear}, hears=("earn",)):
            await eventually(lambda: len(others.heard) == 100)
            async with asyncio.timeout(PATIENCE_S):
                while await published(service):
                    await service.housekeeping._trim()
                    await asyncio.sleep(0.05)


async def test_outbox_and_cuts_can_only_grow(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 1)
    admin = await asyncpg.connect(settings.admin_dsn().rsplit("/", 1)[0] + f"/{tenant.database}")
    [partition] = await admin.fetch(
        "SELECT tableoid::regclass::text AS name FROM earn.outbox GROUP BY tableoid"
    )
    for table in ("earn.outbox", "earn.cuts", partition["name"]):
        for statement in (f"UPDATE {table} SET at = at", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute(statement)
    await admin.close()


async def test_the_lag_is_all_that_is_committed_and_not_in_redis(settings: Settings, tenant: Tenant) -> None:
    def lag(name: str) -> float:
        labels = {"service": "earn", "tenant": tenant.code}
        value = service.metrics.registry.get_sample_value(f"pointbank_relay_lag_{name}", labels)
        assert value is not None
        return value

    async with running(settings, tenant, "earn", {Say: say}) as service:
        await tell(service, 5)
        await until_published(service, 5)
        assert service._relaying is not None
        await service.relay.stop()
        await service._relaying
        await service.housekeeping._count_lag()
        assert (lag("events"), lag("seconds")) == (0, 0)
        # Cut and not published, as by a relay that died in between; and not cut at all.
        await tell(service, 30)
        await asyncio.sleep(0.2)
        async with service.read() as db:
            last = await queries.last_cut(db)
            await queries.cut_outbox(db, started_at=last["started_at"], outbox=last["outbox"])
        await tell(service, 7)
        await service.housekeeping._count_lag()
        assert lag("events") == 37
        assert 0.2 <= lag("seconds") < 20
        # While Redis is away, the last that was seen there counts.
        service.housekeeping._redis = redis_client("redis://127.0.0.1:1/0")
        await tell(service, 3)
        await service.housekeeping._count_lag()
        assert lag("events") == 40
        service.housekeeping._redis = service.redis
        await service.relay.compare()
        await service.relay.turn()
        await service.housekeeping._count_lag()
        assert (lag("events"), lag("seconds")) == (0, 0)
        # An entry that somebody added by hand, stamped with the time, is behind nothing.
        await service.redis.xadd(service.keys.stream("earn"), {"event": "stray"})
        await service.housekeeping._count_lag()
        assert (lag("events"), lag("seconds")) == (0, 0)


async def test_a_cut_that_a_person_cancels_again_and_again_is_a_turn_that_failed_and_nothing_that_is_broken(
    settings: Settings, tenant: Tenant
) -> None:
    waiting = """
        SELECT pg_cancel_backend(pid) FROM pg_stat_activity
        WHERE datname = $1 AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO cuts%'
    """
    holder = await asyncpg.connect(settings.admin_dsn(), database=tenant.database)
    person = await asyncpg.connect(settings.admin_dsn())
    try:
        async with running(settings, tenant, "earn", {Say: say}) as service:
            await eventually(lambda: not service.relay.begins)
            with capture_logs() as logs:
                async with holder.transaction():
                    await holder.execute("LOCK TABLE earn.cuts IN SHARE MODE")
                    await tell(service, 1)
                    async with asyncio.timeout(PATIENCE_S):
                        while not any(line["event"].startswith("relay") for line in logs):
                            await person.fetch(waiting, tenant.database)
                            await asyncio.sleep(0.02)
                assert await until_published(service, 1) == [1]
    finally:
        await holder.close()
        await person.close()
    said = [(line["event"], line["log_level"]) for line in logs if line["event"].startswith("relay")]
    assert set(said) == {("relay turn failed", "warning")}
    [first, *_] = [line for line in logs if line["event"] == "relay turn failed"]
    assert first["error"] == "QueryCanceledError: canceling statement due to user request"
