"""The lane: one transaction for a batch, an outcome for each item, whatever becomes of its neighbours."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from shared.config import Settings
from shared.db import role_of
from shared.errors import Refusal
from shared.messaging import Done, FromStream, Handler, Item, Outcome, Refused, Tx, claims_keys
from shared.messaging.submission import Group, Waiting
from shared.messaging.writer import FEW
from shared.tenants import Tenant
from tests.support.patience import PATIENCE_S
from tests.support.speaking import (
    Say,
    by_http,
    by_job,
    claim_and_say,
    heard_by_stream,
    quick_settings,
    say,
    unheard,
)
from tests.support.tenants import connect_as, running

CLAIMING = pytest.mark.parametrize("handler", [say, claim_and_say])
"""Whether the lane takes the idempotency keys or its handler does, a caller sees no difference."""


async def told(settings: Settings, tenant: Tenant) -> int:
    db = await connect_as(settings, tenant, "auditor")
    try:
        return int(await db.fetchval("SELECT count(*) FROM earn.outbox"))
    finally:
        await db.close()


async def test_what_waits_while_a_batch_is_written_is_the_next_batch(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        outcomes = await asyncio.gather(*[service.lane.submit(by_job(Say(str(k)))) for k in range(300)])
        assert [outcome.body for outcome in outcomes if isinstance(outcome, Done)][7] == b'{"said":"7"}'
        db = await connect_as(settings, tenant, "auditor")
        transactions = await db.fetchval("SELECT count(DISTINCT xid) FROM earn.outbox")
        await db.close()
    assert len(outcomes) == 300
    assert transactions <= 2


async def test_a_batch_of_some_calls_is_written_by_the_statement_that_commits_it(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def noting(method: Any) -> Any:
        async def send(self: Any, *args: Any, **more: Any) -> Any:
            if asyncio.current_task() is service.lane._running:
                sent.append(method.__name__)
            return await method(self, *args, **more)

        return send

    connection: Any = asyncpg.Connection
    async with running(settings, tenant, "earn", {Say: claim_and_say}) as service:
        await service.lane.submit(by_http(Say("first"), "first"))
        for method in (connection._do_execute, connection.copy_to_table):
            monkeypatch.setattr(connection, method.__name__, noting(method))
        calls = [by_http(Say(str(k)), str(k)) for k in range(FEW)]
        outcomes = await asyncio.gather(*[service.lane.submit(call) for call in calls])
    assert outcomes == [Done(201, b'{"said":"%d"}' % k) for k in range(FEW)]
    assert sent == ["_do_execute", "_do_execute"]  # the keys, and all that is told, noted and answered


async def test_entries_that_nobody_handles_wait_for_company_and_no_longer_than_a_moment(
    settings: Settings, tenant: Tenant
) -> None:
    db = await connect_as(settings, tenant, "auditor")
    async with running(settings, tenant, "redeem", {Say: say}) as service:
        alone = asyncio.create_task(service.lane.submit_many([unheard(1), unheard(2)]))
        await asyncio.sleep(0)
        assert service.lane.depth == 2
        await service.lane.submit(by_job(Say("a")))  # company: one transaction for all three
        assert alone.done()
        assert await db.fetchval("SELECT count(*) FROM redeem.inbox") == 1
        assert await service.lane.submit(unheard(3)) == Done(replayed=True)  # alone, after that moment
    runs = await db.fetch("SELECT entries::text FROM redeem.inbox ORDER BY entries")
    assert [row["entries"] for row in runs] == ["[1,3)", "[3,4)"]
    await db.close()


async def test_what_is_handled_and_what_is_not_are_noted_as_the_neighbours_that_they_are(
    settings: Settings, tenant: Tenant
) -> None:
    handled = [heard_by_stream(n, Say(str(n))) for n in range(2, 1401, 2)]
    async with running(settings, tenant, "redeem", {Say: say}) as service:
        await service.lane.submit_many(handled, left=range(1, 1401, 2))
        db = await connect_as(settings, tenant, "auditor")
        runs = await db.fetch("SELECT entries::text FROM redeem.inbox ORDER BY entries")
        said = await db.fetch("SELECT xid, count(*) FROM redeem.outbox GROUP BY xid ORDER BY xid")
        await db.close()
    # 500 that are handled fill a batch; what nobody handles takes no room.
    assert [row["count"] for row in said] == [500, 200]
    assert [row["entries"] for row in runs] == ["[1,1002)", "[1002,1401)"]


async def test_what_nobody_handles_is_noted_also_where_its_neighbours_fail_or_go_apart(
    settings: Settings, tenant: Tenant
) -> None:
    @dataclass(frozen=True)
    class Other:
        pass

    async def nothing(tx: Tx, items: Sequence[Item[Other]]) -> list[Outcome]:
        return [Done()] * len(items)

    handled: list[Item[Any]] = [heard_by_stream(n, Say(str(n), divide_by=n != 9)) for n in range(3, 60, 3)]
    handled += [Item(Other(), FromStream("earn", n), f"earn-{n}", "/earn") for n in range(60, 90, 3)]
    left = [n for n in range(1, 100) if n % 3 or n >= 90]
    async with running(settings, tenant, "redeem", {Say: say, Other: nothing}) as service:
        outcomes = await service.lane.submit_many(handled, left)
        db = await connect_as(settings, tenant, "auditor")
        runs = await db.fetch("SELECT entries::text FROM redeem.inbox AS i ORDER BY i.entries")
        dead = await db.fetch("SELECT entry_id FROM redeem.dead_letters")
        heard = await db.fetchval("SELECT sum(upper(entries) - lower(entries)) FROM redeem.inbox")
        await db.close()
        again = await service.lane.submit_many(handled, left)
    assert [row["entry_id"] for row in dead] == ["9-0"]
    assert heard == 99
    assert runs[-1]["entries"] == "[60,100)", "what is left goes with what stands before it"
    assert [outcome.replayed for outcome in outcomes] == [n == 9 for n in range(3, 90, 3)]
    assert all(outcome.replayed for outcome in again)


async def test_a_lane_that_stops_does_not_wait_for_company(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "redeem", {Say: say}) as service:
        alone = asyncio.create_task(service.lane.submit(unheard(1)))
        await asyncio.sleep(0)
        await service.lane.drain()
        assert alone.done()


@CLAIMING
async def test_a_repeated_call_gets_the_first_answer_and_writes_nothing(
    settings: Settings, tenant: Tenant, handler: Handler
) -> None:
    async with running(settings, tenant, "earn", {Say: handler}) as service:
        first = await service.lane.submit(by_http(Say("a"), "key"))
        again = await service.lane.submit(by_http(Say("a"), "key"))
    assert first == Done(201, b'{"said":"a"}')
    assert again == Done(201, b'{"said":"a"}', replayed=True)
    assert await told(settings, tenant) == 1


@CLAIMING
async def test_repeats_within_one_batch_get_the_same_answer(
    settings: Settings, tenant: Tenant, handler: Handler
) -> None:
    async with running(settings, tenant, "earn", {Say: handler}) as service:
        outcomes = await service.lane.submit_many([by_http(Say("a"), "key") for _ in range(5)])
    assert outcomes == [Done(201, b'{"said":"a"}')] + [Done(201, b'{"said":"a"}', replayed=True)] * 4
    assert await told(settings, tenant) == 1


@CLAIMING
async def test_concurrent_repeats_in_two_processes_write_once(
    settings: Settings, tenant: Tenant, handler: Handler
) -> None:
    async with (
        running(settings, tenant, "earn", {Say: handler}) as one,
        running(settings, tenant, "earn", {Say: handler}) as other,
    ):
        outcomes = await asyncio.gather(
            *[lane.submit(by_http(Say("a", sleep_s=0.2), "key")) for lane in (one.lane, other.lane)]
        )
    assert [outcome.body for outcome in outcomes if isinstance(outcome, Done)] == [b'{"said":"a"}'] * 2
    assert sorted(outcome.replayed for outcome in outcomes) == [False, True]
    assert await told(settings, tenant) == 1


@CLAIMING
async def test_another_request_under_a_used_key_is_refused(
    settings: Settings, tenant: Tenant, handler: Handler
) -> None:
    async with running(settings, tenant, "earn", {Say: handler}) as service:
        await service.lane.submit(by_http(Say("a"), "key"))
        outcome = await service.lane.submit(by_http(Say("b"), "key", request=b"other"))
        together = await service.lane.submit_many(
            [by_http(Say("c"), "fresh"), by_http(Say("d"), "fresh", request=b"other")]
        )
    assert isinstance(outcome, Refused)
    assert outcome.refusal.code == "idempotency_key_reused"
    assert isinstance(together[1], Refused)
    assert together[1].refusal.code == "idempotency_key_reused"
    assert await told(settings, tenant) == 2


@CLAIMING
async def test_a_decided_refusal_is_frozen_under_its_key(
    settings: Settings, tenant: Tenant, handler: Handler
) -> None:
    async with running(settings, tenant, "earn", {Say: handler}) as service:
        first = await service.lane.submit(by_http(Say("a", refuse="insufficient_points"), "key"))
        again = await service.lane.submit(by_http(Say("a"), "key"))
    assert isinstance(first, Refused)
    assert not first.replayed
    assert isinstance(again, Refused)
    assert again.replayed
    assert again.refusal.code == "insufficient_points"
    assert again.refusal.detail == first.refusal.detail
    assert await told(settings, tenant) == 0


@CLAIMING
async def test_a_refusal_of_shape_frees_its_key(settings: Settings, tenant: Tenant, handler: Handler) -> None:
    async with running(settings, tenant, "earn", {Say: handler}) as service:
        await service.lane.submit(by_http(Say("a", refuse="field_type"), "key"))
        again = await service.lane.submit(by_http(Say("a"), "key"))
    assert again == Done(201, b'{"said":"a"}')


async def test_a_handler_that_forgets_to_take_the_keys_writes_nothing(
    settings: Settings, tenant: Tenant
) -> None:
    @claims_keys
    async def forgetful(tx: Tx, items: Sequence[Item[Say]]) -> list[Outcome]:
        return await say(tx, items)

    async with running(settings, tenant, "earn", {Say: forgetful}) as service:
        with pytest.raises(AssertionError, match="took no idempotency keys"):
            await service.lane.submit(by_http(Say("a"), "key"))
    assert await told(settings, tenant) == 0


async def test_what_postgresql_refuses_fails_alone(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        items = [by_http(Say(str(k), divide_by=0 if k == 137 else 1), str(k)) for k in range(250)]
        outcomes = await asyncio.gather(
            *[service.lane.submit(item) for item in items], return_exceptions=True
        )
    assert isinstance(outcomes[137], asyncpg.DivisionByZeroError)
    assert sum(isinstance(outcome, Done) for outcome in outcomes) == 249
    assert await told(settings, tenant) == 249


async def test_a_call_that_exceeds_the_statement_limit_fails_alone(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(quick_settings(settings), tenant, "earn", {Say: say}) as service:
        items = [by_http(Say(str(k), sleep_s=2 if k == 3 else 0), str(k)) for k in range(8)]
        outcomes = await asyncio.gather(
            *[service.lane.submit(item) for item in items], return_exceptions=True
        )
    assert isinstance(outcomes[3], asyncpg.QueryCanceledError)
    assert sum(isinstance(outcome, Done) for outcome in outcomes) == 7


async def test_a_terminated_connection_is_survived_without_a_word(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        asked = asyncio.create_task(service.lane.submit(by_http(Say("a", sleep_s=0.5), "key")))
        await asyncio.sleep(0.2)
        admin = await asyncpg.connect(settings.admin_dsn())
        ended = await admin.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1",
            tenant.database,
        )
        await admin.close()
        outcome = await asked
    assert ended >= 1
    assert outcome == Done(201, b'{"said":"a"}')
    assert await told(settings, tenant) == 1


async def test_a_lane_that_stops_finishes_what_it_took_and_takes_no_more(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        taken = [asyncio.create_task(service.lane.submit(by_job(Say(str(k))))) for k in range(50)]
        await asyncio.sleep(0)
        await service.lane.drain()
        assert all(task.done() for task in taken)
        with pytest.raises(Refusal) as refused:
            await service.lane.submit(by_job(Say("late")))
    assert refused.value.code == "tenant_unavailable"
    assert await told(settings, tenant) == 50


async def test_a_stop_ends_while_postgresql_is_away_and_its_callers_know(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runtime.END_S", 0.2)
    monkeypatch.setattr("shared.runtime.DRAIN_S", 0.5)
    role = role_of(tenant.code, "earn")
    admin = await asyncpg.connect(settings.admin_dsn())
    service = running(settings, tenant, "earn", {Say: say})
    lane = (await service.__aenter__()).lane
    await admin.execute(f"ALTER ROLE {role} NOLOGIN")
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
    waiting = asyncio.create_task(lane.submit_many([by_job(Say(str(k))) for k in range(7)]))
    await asyncio.sleep(0.2)
    async with asyncio.timeout(PATIENCE_S):
        await service.__aexit__(None, None, None)
    with pytest.raises(Refusal, match="not known what was written"):
        await waiting
    await admin.execute(f"ALTER ROLE {role} LOGIN")
    await admin.close()
    assert await told(settings, tenant) == 0


async def test_what_is_given_up_after_it_was_halved_is_told_once() -> None:
    future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    group = Group(4, future)
    whole = Waiting([by_job(Say(str(k))) for k in range(4)], None, group, [0, 1, 2, 3], 0.0)
    first, *_ = whole.singly()
    first.answer([Done(201)])
    whole.fail(RuntimeError("given up"))
    assert (group.outcomes[0], future.done()) == (Done(201), True)
    with pytest.raises(RuntimeError, match="given up"):
        await future


async def test_who_did_what_stands_in_the_audit(settings: Settings, tenant: Tenant) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await service.lane.submit(by_http(Say("a"), "key"))
    db = await connect_as(settings, tenant, "auditor")
    rows = await db.fetch("SELECT actor, action, object, request_id FROM earn.audit")
    await db.close()
    assert [tuple(row) for row in rows] == [("tester", "said", "a", "request-key")]
