"""Consumers and their inbox: what is heard counts once, whoever dies; a bad entry stops nobody but itself."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from pointbank.operating.dead_letters import (
    KeptInPart,
    list_dead_letters,
    move_dead_letters,
    show_dead_letter,
)
from shared.config import Settings
from shared.events import MessageDelivered
from shared.messaging import Done, Item, Outcome, PosEntry, Refused, Tx, refusal
from shared.messaging.bus import redis_client
from shared.messaging.entries import decode_pos
from shared.messaging.watch import hint, hints_key
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.patience import PATIENCE_S
from tests.support.speaking import Ears, Say, by_job, eventually, quick_settings, say
from tests.support.tenants import connect_as, running

POISON = "poison"
EVENT = b'{"specversion":"1.0","id":"x","source":"/earn","tenantid":"other","data":{},"type":'
MISSING = EVENT + b'"message.delivered.v1"}'
FOREIGN = EVENT + b'"unheard.v1"}'


class Trouble(Ears):
    """Ears that can't bear one subject: PostgreSQL refuses it, or never ends with it, for as long as `bad`."""

    def __init__(self, sql: str) -> None:
        super().__init__()
        self.sql = sql
        self.bad = True
        self.tries = 0

    async def hear(self, tx: Tx, items: Sequence[Item[MessageDelivered]]) -> list[Outcome]:
        if self.bad and any(b'"subject":"poison"' in item.payload for item in items):
            self.tries += len(items) == 1
            await tx.db.execute(self.sql)
        return await super().hear(tx, items)


def sayings(count: int, *, poison: int | None = None) -> list[Item[Any]]:
    return [by_job(Say(POISON if k == poison else str(k))) for k in range(count)]


async def test_what_was_told_before_a_consumer_first_came_is_heard(
    settings: Settings, tenant: Tenant
) -> None:
    ears = Ears()
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await service.lane.submit_many(sayings(50))
        async with running(settings, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)):
            await eventually(lambda: len(ears.heard) == 50)
    assert sorted(ears.heard) == list(range(1, 51))


async def test_an_entry_that_somebody_added_by_hand_counts_for_nothing(
    settings: Settings, tenant: Tenant
) -> None:
    ears = Ears()
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(settings, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)) as hearer,
    ):
        await service.lane.submit_many(sayings(5))
        [consumer] = hearer.consumers
        await eventually(lambda: consumer.entries == 5)
        await service.redis.xadd(service.keys.stream("earn"), {"event": "stray"})
        await eventually(lambda: consumer.entries == 6)
        await service.lane.submit_many(sayings(5))
        await eventually(lambda: len(ears.heard) == 10)
        async with hearer.read() as db:
            assert await db.fetchval("SELECT max(upper(entries)) FROM inbox") in (None, 11)
        assert await list_dead_letters(settings, tenant.code, services=["redeem"]) == []
    assert sorted(ears.heard) == list(range(1, 11))


async def test_a_trace_goes_on_from_service_to_service(settings: Settings, tenant: Tenant) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    passed: list[Any] = []

    async def pass_on(tx: Tx, items: Sequence[Item[MessageDelivered]]) -> list[Outcome]:
        for item in items:
            tx.emit(item.command, subject="passed on", sequence=1, item=item)
        passed.extend(msgspec.json.decode(payload) for payload in tx.told_payloads)
        return [Done()] * len(items)

    traced, untraced = by_job(Say("traced")), by_job(Say("untraced"))
    traced.traceparent = traceparent
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(settings, tenant, "redeem", {MessageDelivered: pass_on}, hears=("earn",)),
    ):
        await service.lane.submit_many([traced, untraced])
        await eventually(lambda: len(passed) == 2)
    assert [event.get("traceparent") for event in passed] == [traceparent, None]


async def test_two_replicas_share_a_stream_and_count_each_entry_once(
    settings: Settings, tenant: Tenant
) -> None:
    one, other = Ears(), Ears()
    small = settings.model_copy(update={"batch_items": 20})
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(small, tenant, "redeem", {MessageDelivered: one.hear}, hears=("earn",)),
        running(small, tenant, "redeem", {MessageDelivered: other.hear}, hears=("earn",)),
    ):
        await service.lane.submit_many(sayings(2000))
        await eventually(lambda: len(one.heard) + len(other.heard) == 2000)
    assert sorted(one.heard + other.heard) == list(range(1, 2001))
    assert one.heard
    assert other.heard


async def test_a_stream_that_is_delivered_again_counts_once(settings: Settings, tenant: Tenant) -> None:
    ears = Ears()
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(settings, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)) as hearer,
    ):
        await service.lane.submit_many(sayings(100))
        await eventually(lambda: len(ears.heard) == 100)
        entries: Any = await service.redis.xrange(service.keys.stream("earn"))
        await hearer.consumers[0].handle([(entry_id, fields[b"event"]) for entry_id, fields in entries])
        await service.redis.xgroup_destroy(service.keys.stream("earn"), "redeem")
        await service.lane.submit_many(sayings(10))
        await eventually(lambda: max(ears.heard) == 110)
    assert sorted(ears.heard) == list(range(1, 111))


async def test_a_dead_consumers_entries_are_taken_over(settings: Settings, tenant: Tenant) -> None:
    ears = Ears()
    async with running(settings, tenant, "earn", {Say: say}) as service:
        stream = service.keys.stream("earn")
        await service.redis.xgroup_create(stream, "redeem", id="0", mkstream=True)
        await service.lane.submit_many(sayings(300))
        await eventually(lambda: service.relay.trouble(after_s=30) is None)
        async with asyncio.timeout(PATIENCE_S):
            while await service.redis.xlen(stream) < 300:
                await asyncio.sleep(0.02)
        stranded: Any = await service.redis.xreadgroup("redeem", "died", {stream: ">"}, count=120)
        assert len(stranded[0][1]) == 120
        async with running(
            quick_settings(settings), tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)
        ):
            await eventually(lambda: len(ears.heard) == 300)
            async with asyncio.timeout(PATIENCE_S):
                while (await service.redis.xpending(stream, "redeem"))["pending"]:
                    await asyncio.sleep(0.05)
    assert sorted(ears.heard) == list(range(1, 301))


def taken_over(runtime: TenantRuntime) -> float:
    """How many entries this process has taken from others, whatever became of them."""
    labels = {"service": "redeem", "tenant": runtime.code}
    return runtime.metrics.registry.get_sample_value("pointbank_consumer_reclaimed_total", labels) or 0


async def test_a_slow_consumer_keeps_its_entries_and_one_that_is_silent_does_not(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch takes thrice the lease; so does the next, of a consumer that says nothing as one that is frozen says nothing."""
    begun = asyncio.Event()

    class Slow(Ears):
        async def hear(self, tx: Tx, items: Sequence[Item[MessageDelivered]]) -> list[Outcome]:
            begun.set()
            await asyncio.sleep(1.2)
            return await super().hear(tx, items)

    async def silent() -> None:
        pass

    slow, other = Slow(), Ears()
    short = settings.model_copy(update={"reclaim_idle_ms": 400})
    monkeypatch.setattr("shared.runtime.RECLAIM_EVERY_S", 0.1)
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(short, tenant, "redeem", {MessageDelivered: slow.hear}, hears=("earn",)) as holder,
    ):
        await service.lane.submit_many(sayings(5))
        await begun.wait()
        async with running(short, tenant, "redeem", {MessageDelivered: other.hear}, hears=("earn",)) as taker:
            await eventually(lambda: len(slow.heard) == 5)
            assert (other.heard, taker.consumers[0].entries, taken_over(taker)) == ([], 0, 0)
            await eventually(lambda: holder.consumers[0].entries == 5)
            await taker.consumers[0].stop()
            begun.clear()
            holder.consumers[0]._lease._renew = silent  # as if it stood still
            await service.lane.submit_many(sayings(5))
            await begun.wait()
            await eventually(lambda: taker.consumers[0].entries == 5)  # it reads no more: it takes over
            assert taken_over(taker) == 5
            # The one that was silent still has them in hand: it comes to its end, and does no harm.
            await eventually(lambda: holder.consumers[0].entries == 10)
            async with holder.read() as db:
                assert await db.fetchval("SELECT upper(entries) FROM inbox ORDER BY 1 DESC LIMIT 1") in (
                    None,
                    11,
                )
            assert (await holder.redis.xpending(service.keys.stream("earn"), "redeem"))["pending"] == 0
    assert sorted(slow.heard + other.heard) == list(range(1, 11))


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT 1 / 0", "database_refused"),
        ("DO $$ BEGIN RAISE EXCEPTION 'no'; END $$", "database_refused"),
        ("SELECT pg_sleep(5)", "timed_out"),
    ],
)
async def test_an_entry_that_only_postgresql_refuses_dies_alone(
    settings: Settings, tenant: Tenant, sql: str, code: str
) -> None:
    ears = Trouble(sql)
    quick = quick_settings(settings)
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(quick, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)),
    ):
        await service.lane.submit_many(sayings(40, poison=17))
        await eventually(lambda: len(ears.heard) == 39)
        async with asyncio.timeout(PATIENCE_S):
            while not (letters := await list_dead_letters(settings, tenant.code, services=["redeem"])):
                await asyncio.sleep(0.1)
        await service.lane.submit_many(sayings(5))
        await eventually(lambda: len(ears.heard) == 44)
    assert sorted(set(range(1, 46)) - set(ears.heard)) == [18]
    assert [(letter.code, letter.stream, letter.entry_id) for letter in letters] == [(code, "earn", "18-0")]


async def test_an_entry_that_times_out_dies_only_while_another_write_goes_through(
    settings: Settings, tenant: Tenant
) -> None:
    """PostgreSQL is slow for everybody: the entry is tried until it is not, and no try counts against it."""
    ears = Trouble("SELECT pg_sleep(5)")
    quick = quick_settings(settings)
    admin = await asyncpg.connect(settings.postgres_dsn, database=tenant.database)
    await admin.execute(
        """
        CREATE FUNCTION redeem.be_slow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_catalog.pg_sleep(5); RETURN NEW; END $$;
        CREATE TRIGGER be_slow BEFORE UPDATE ON redeem.attempts
            FOR EACH ROW WHEN (OLD.tries = NEW.tries) EXECUTE FUNCTION redeem.be_slow()
        """
    )
    try:
        async with (
            running(settings, tenant, "earn", {Say: say}) as service,
            running(quick, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)),
        ):
            await service.lane.submit_many(sayings(8, poison=3))
            await eventually(lambda: ears.tries > quick.poison_attempts + 3)
            assert await list_dead_letters(settings, tenant.code, services=["redeem"]) == []
            assert await admin.fetchval("SELECT tries FROM redeem.attempts") <= 1
            await admin.execute("DROP TRIGGER be_slow ON redeem.attempts")
            async with asyncio.timeout(PATIENCE_S):
                while not (letters := await list_dead_letters(settings, tenant.code, services=["redeem"])):
                    await asyncio.sleep(0.1)
    finally:
        await admin.close()
    assert [(letter.code, letter.entry_id) for letter in letters] == [("timed_out", "4-0")]
    assert sorted(ears.heard) == [1, 2, 3, 5, 6, 7, 8]


async def test_a_dead_letter_can_be_read_and_tried_again(settings: Settings, tenant: Tenant) -> None:
    ears = Trouble("SELECT 1 / 0")
    async with (
        running(settings, tenant, "earn", {Say: say}) as service,
        running(settings, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)),
    ):
        await service.lane.submit_many(sayings(3, poison=1))
        await eventually(lambda: len(ears.heard) == 2)
        async with asyncio.timeout(PATIENCE_S):
            while not (letters := await list_dead_letters(settings, tenant.code, services=["redeem"])):
                await asyncio.sleep(0.1)
        [letter] = letters
        shown = await show_dead_letter(settings, tenant.code, letter.dead_letter_id)
        assert shown is not None
        assert '"subject":"poison"' in shown["payload"]

        tries = ears.tries
        again = await _move(settings, tenant, letter.dead_letter_id)
        assert again == [letter.dead_letter_id]
        await eventually(lambda: ears.tries > tries)  # still bad: it dies again
        async with asyncio.timeout(PATIENCE_S):
            while (await list_dead_letters(settings, tenant.code, services=["redeem"]))[0].state != "open":
                await asyncio.sleep(0.1)
        ears.bad = False
        await _move(settings, tenant, letter.dead_letter_id)
        async with asyncio.timeout(PATIENCE_S):
            while await list_dead_letters(settings, tenant.code, services=["redeem"]):
                await asyncio.sleep(0.1)
        assert await _move(settings, tenant, letter.dead_letter_id) == []
    everything = await list_dead_letters(settings, tenant.code, everything=True)
    assert [one.state for one in everything] == ["retried"]


async def test_of_an_entry_too_large_to_read_a_beginning_is_kept_and_it_is_not_tried_again(
    settings: Settings, tenant: Tenant
) -> None:
    async def refuse(tx: Tx, items: Sequence[Item[PosEntry]]) -> list[Outcome]:
        return [Refused(refusal("body_too_large", "Too large.")) for _ in items]

    large, exact = b"x" * (3 << 20), b"y" * (1 << 20)
    async with running(settings, tenant, "earn", {PosEntry: refuse}) as service:
        items = [decode_pos(f"{n}-0", {b"event": entry}, 1) for n, entry in ((1, large), (2, exact))]
        await service.lane.submit_many(items)
        async with service.read() as db:
            sizes = await db.fetch("SELECT octet_length(payload) FROM dead_letters ORDER BY entry_id")
        whole, part = await list_dead_letters(settings, tenant.code, services=["earn"])
        with pytest.raises(KeptInPart, match=f"of {part.dead_letter_id} only a part was kept"):
            await move_dead_letters(
                settings,
                tenant.code,
                [whole.dead_letter_id, part.dead_letter_id],
                state="retry",
                actor="tester",
                reason="so that it is refused",
            )
        async with service.read() as db:
            with pytest.raises(asyncpg.CheckViolationError, match="dead_letters_retried_whole"):
                await db.execute("UPDATE dead_letters SET state = 'retry' WHERE NOT whole")
    assert [row[0] for row in sizes] == [(1 << 16) + 28, (1 << 20) + 28]
    assert (whole.entry_id, whole.detail, whole.state) == ("2-0", "Too large.", "open")
    digest = hashlib.sha256(large).hexdigest()
    assert part.detail == (
        f"Too large. Of the entry (3,145,728 bytes, SHA-256 {digest}) the first 65,536 bytes are kept."
    )
    shown = await show_dead_letter(settings, tenant.code, part.dead_letter_id)
    assert shown is not None
    assert (shown["whole"], shown["payload"]) == (False, "x" * (1 << 16))
    administrator: Any = redis_client(settings.redis_url)
    async with administrator as redis:
        await hint(redis, settings.cell, [])
        [(before, _)] = await redis.xrevrange(hints_key(settings.cell), count=1)
        dropped = await move_dead_letters(
            settings, tenant.code, [part.dead_letter_id], state="dropped", actor="tester", reason="sent again"
        )
        assert dropped == [part.dead_letter_id]
        # Who rests over it counts it no more.
        hints = await redis.xrange(hints_key(settings.cell), min=b"(" + before)
        told = [fields[b"tenants"] for _, fields in hints]  # others' processes say something too
        assert told.count(tenant.code.encode()) == 1, told


async def _move(settings: Settings, tenant: Tenant, dead_letter_id: UUID) -> list[UUID]:
    return await move_dead_letters(
        settings, tenant.code, [dead_letter_id], state="retry", actor="tester", reason="the cause is mended"
    )


async def test_an_entry_that_kills_its_readers_is_given_up_after_the_last_try(
    settings: Settings, tenant: Tenant
) -> None:
    """Each reader dies with the entry unacknowledged: the tries are counted in PostgreSQL before they are made."""
    quick = quick_settings(settings)

    class Killer(Ears):
        async def hear(self, tx: Tx, items: Sequence[Item[MessageDelivered]]) -> list[Outcome]:
            if any(b'"subject":"poison"' in item.payload for item in items):
                await (
                    asyncio.Event().wait()
                )  # until the test tears the reader down: as a process that dies in here
            return await super().hear(tx, items)

    heard: list[int] = []
    async with running(settings, tenant, "earn", {Say: say}) as service:
        await service.lane.submit_many(sayings(10, poison=4))
        stream = service.keys.stream("earn")
        async with asyncio.timeout(PATIENCE_S):
            while await service.redis.xlen(stream) < 10:
                await asyncio.sleep(0.02)
        await service.redis.xgroup_create(stream, "redeem", id="0")
        await service.redis.xreadgroup("redeem", "died", {stream: ">"}, count=10)
        db = await connect_as(settings, tenant, "redeem")
        await db.execute("INSERT INTO attempts (stream, entry_id, tries) VALUES ('earn', '5-0', 3)")
        await db.close()
        for _ in range(3):  # delivered often enough to run alone
            await service.redis.xclaim(
                stream, "redeem", "died", min_idle_time=0, message_ids=[f"{n}-0" for n in range(1, 11)]
            )
        killer = Killer()
        async with running(quick, tenant, "redeem", {MessageDelivered: killer.hear}, hears=("earn",)):
            await eventually(lambda: len(killer.heard) == 9)
            async with asyncio.timeout(PATIENCE_S):
                while not (letters := await list_dead_letters(settings, tenant.code, services=["redeem"])):
                    await asyncio.sleep(0.1)
        heard = killer.heard
    assert sorted(heard) == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert [(letter.code, letter.entry_id) for letter in letters] == [("delivery_limit", "5-0")]


async def test_an_entry_that_is_no_event_of_ours_is_a_dead_letter(settings: Settings, tenant: Tenant) -> None:
    ears = Ears()
    async with running(settings, tenant, "redeem", {MessageDelivered: ears.hear}, hears=("earn",)) as hearer:
        await hearer.consumers[0].handle(
            [
                (b"1-0", b"{"),
                (b"2-0", b'{"id":"\xff"}'),
                (b"3-0", MISSING),
                (b"4-0", FOREIGN),
            ]
        )
        letters = await list_dead_letters(settings, tenant.code, services=["redeem"])
    assert sorted((letter.entry_id, letter.code) for letter in letters) == [
        ("1-0", "not_json"),
        ("2-0", "not_utf8"),
        ("3-0", "field_type"),
        ("4-0", "tenant_mismatch"),
    ]


async def test_a_service_can_neither_read_nor_write_what_is_not_its_own(
    settings: Settings, tenant: Tenant
) -> None:
    db = await connect_as(settings, tenant, "earn")
    for statement in (
        "SELECT * FROM redeem.ledger",
        "INSERT INTO redeem.outbox (event_id, payload) VALUES (gen_random_uuid(), '')",
        "CREATE TABLE earn.mine (n int)",
        "CREATE TABLE public.mine (n int)",
        "UPDATE outbox SET at = at",
        "DELETE FROM audit",
        "TRUNCATE cuts",
        "SELECT make_append_only('outbox')",
        "SET ROLE pb_" + tenant.code.replace("-", "_") + "_owner",
    ):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await db.execute(statement)
        assert refused.value.sqlstate in {"42501", "22023"}, statement
    await db.close()
