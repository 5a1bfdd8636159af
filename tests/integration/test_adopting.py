"""PostgreSQL lost commits whose events had left: the relay stands, an operator adopts, and the stream goes on for everybody."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from pointbank.cli.app import app
from pointbank.operating.streams import (
    ForkUnknown,
    NotDrained,
    NothingToAdopt,
    Stream,
    opened,
    wait_until_drained,
)
from pointbank.operating.streams import queries as deciding
from pointbank.verify import verify_tenant
from shared.config import Settings
from shared.events import MessageDelivered, StreamOrphaned
from shared.messaging import Done, FromStream, Item, Outcome, Tx
from shared.messaging.queries import queries
from shared.messaging.relay import Halted, Heads
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from shared.tenants.provision import create_tenant, dsn_for
from tests.support.speaking import Say, by_job, eventually, say
from tests.support.tenants import as_administrator, running

HELD = ("cuts:earn", "streams:heads", "inboxes", "adoptions")


class Listening:
    """A hearer's handler that keeps what it applied, by dense id."""

    def __init__(self) -> None:
        self.events: dict[int, MessageDelivered] = {}
        self.orphans: dict[int, StreamOrphaned] = {}

    async def hear(self, tx: Tx, items: Sequence[Item[Any]]) -> list[Outcome]:
        heard = [(item.origin.n, item.command) for item in items if isinstance(item.origin, FromStream)]

        def keep() -> None:
            for n, command in heard:
                if isinstance(command, StreamOrphaned):
                    self.orphans[n] = command
                else:
                    self.events[n] = command

        tx.after_commit(keep)
        return [Done()] * len(items)


@asynccontextmanager
async def pipe(
    settings: Settings, tenant: Tenant, redeem: Listening, notifier: Listening
) -> AsyncIterator[TenantRuntime]:
    """earn tells; redeem and notifier hear."""
    async with (
        running(settings, tenant, "earn", {Say: say}) as earn,
        running(settings, tenant, "redeem", _on(redeem), hears=("earn",)),
        running(settings, tenant, "notifier", _on(notifier), hears=("earn",)),
    ):
        yield earn


def _on(listening: Listening) -> dict[type, Any]:
    return {MessageDelivered: listening.hear, StreamOrphaned: listening.hear}


def said(done: Any) -> Any:
    """The document that a command prints last; what is logged may stand before it."""
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


async def standing(stream: Stream) -> tuple[Any, Any, Heads]:
    """Its entries, what Redis says of it (which tells whether it was ever emptied), and where its head is."""
    name = stream.keys.stream(stream.service)
    return (
        await stream.redis.xrange(name),
        await stream.redis.xinfo_stream(name),
        await stream.relay.heads(),
    )


async def tell(earn: TenantRuntime, count: int) -> None:
    await earn.lane.submit_many([by_job(Say(str(k))) for k in range(count)])


async def copy_of(settings: Settings, tenant: Tenant) -> str:
    """A backup of the tenant's database as it is."""
    name = f"{tenant.database}_backup"
    admin = await asyncpg.connect(dsn_for(settings, ""))
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{tenant.database}"')
    await admin.close()
    return name


async def restore(settings: Settings, tenant: Tenant, backup: str) -> None:
    """The backup becomes the tenant's database."""
    admin = await asyncpg.connect(dsn_for(settings, ""))
    await admin.execute(f'DROP DATABASE "{tenant.database}" WITH (FORCE)')
    await admin.execute(f'ALTER DATABASE "{backup}" RENAME TO "{tenant.database}"')
    await admin.close()
    await create_tenant(settings, tenant.code)  # what a database itself grants is in no copy of it


async def lose(settings: Settings, tenant: Tenant, *, after: int) -> None:
    """earn alone loses what it told after this id."""
    admin = await asyncpg.connect(dsn_for(settings, tenant.database))
    async with admin.transaction():
        await admin.execute("SET LOCAL session_replication_role = replica")
        await admin.execute(
            "DELETE FROM earn.outbox WHERE xid >= (SELECT pg_snapshot_xmax(snapshot) FROM earn.cuts WHERE base + n - 1 = $1)",
            after,
        )
        await admin.execute("DELETE FROM earn.cuts WHERE base > $1", after)
    await admin.close()


async def test_a_restored_tenant_goes_on_where_its_copy_ended_and_hears_nothing_that_never_was(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    redeem, notifier = Listening(), Listening()
    async with pipe(settings, tenant, redeem, notifier) as earn:
        await tell(earn, 20)
        await eventually(lambda: len(redeem.events) == len(notifier.events) == 20)
    backup = await copy_of(settings, tenant)
    async with pipe(settings, tenant, redeem, notifier) as earn:
        await tell(earn, 15)
        await eventually(lambda: len(redeem.events) == len(notifier.events) == 35)
        with pytest.raises(NothingToAdopt):
            async with opened(settings, tenant.code, "earn") as stream:
                await stream.judge()
    await restore(settings, tenant, backup)

    redeem, notifier = Listening(), Listening()
    async with pipe(settings, tenant, redeem, notifier) as earn:
        await eventually(lambda: "commits were lost" in (earn.relay.trouble(after_s=30) or ""))
        await tell(earn, 4)  # it still takes what comes, and tells nobody
        as_administrator(settings, monkeypatch)
        command = ["stream", "adopt", "--tenant", tenant.code, "--service", "earn", "--json"]
        dry = await asyncio.to_thread(CliRunner().invoke, app, [*command, "--dry-run"])
        told = said(dry)
        assert [told[name] for name in ("published", "planned", "agreed_through", "told_again", "epoch")] == [
            35, 20, 20, 4, None,
        ]  # fmt: skip
        assert [one["n"] for one in told["orphans"]] == list(range(21, 36))
        assert "commits were lost" in (earn.relay.trouble(after_s=30) or "")

        done = await asyncio.to_thread(
            CliRunner().invoke, app, [*command, "--reason", "restored from last night"]
        )
        assert said(done)["epoch"] == 1
        await tell(earn, 5)
        # 21 to 24 were planned and never published; 25 to 35 tell of orphans; then what was planned, once more; then the others.
        for one in (redeem, notifier):
            await eventually(lambda one=one: len(one.events) == 9 and len(one.orphans) == 15)  # type: ignore[misc]
            assert min(one.events) == 36
            assert sorted(orphan.n for orphan in one.orphans.values()) == list(range(21, 36))
        assert len({event.message_id for event in redeem.events.values()}) == 9
        await eventually(lambda: earn.relay.trouble(after_s=30) is None)
        listed = await asyncio.to_thread(
            CliRunner().invoke,
            app,
            ["stream", "orphans", "--tenant", tenant.code, "--service", "earn", "--json"],
        )
        assert [(one["n"], one["reason"]) for one in said(listed)][:2] == [
            (21, "restored from last night"),
            (22, "restored from last night"),
        ]
        report = await verify_tenant(settings, tenant.code, wait_until_settled_s=10)
        assert {name: report[name].verdict for name in HELD} == dict.fromkeys(HELD, "holds")
        assert report["streams:entries"].examples == []  # what all have read is trimmed, and not compared


async def test_who_begins_after_a_restore_hears_nothing_that_was_not_compared(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as earn:
        await tell(earn, 4)
        await eventually(lambda: earn.relay.trouble(after_s=30) is None)
    backup = await copy_of(settings, tenant)
    async with running(settings, tenant, "earn", {Say: say}) as earn:
        await tell(earn, 3)
    await restore(settings, tenant, backup)

    redeem, why = Listening(), "not heard until its relay has compared it"
    async with running(settings, tenant, "redeem", _on(redeem), hears=("earn",)) as hearer:
        [consumer] = hearer.consumers
        assert consumer.held_back
        assert why in (consumer.trouble(after_s=30) or "")
        async with running(settings, tenant, "earn", {Say: say}) as earn:
            await eventually(lambda: "commits were lost" in (earn.relay.trouble(after_s=30) or ""))
            await asyncio.sleep(1)
            assert consumer.held_back
            assert await consumer.reclaim() == 0
            assert not hearer.quiet
            assert redeem.events == {}
        async with opened(settings, tenant.code, "earn") as stream:
            judged = await stream.judge()
            assert [one.heard_by for one in judged.orphans] == [()] * 3
            await stream.adopt(judged, actor="tester", reason="restored")
        async with running(settings, tenant, "earn", {Say: say}) as earn:
            await eventually(lambda: sorted(redeem.orphans) == [5, 6, 7])
            assert sorted(redeem.events) == [1, 2, 3, 4]
            assert not consumer.held_back


async def test_what_hearers_applied_and_the_producer_lost_is_named_and_its_ids_are_not_used_again(
    settings: Settings, tenant: Tenant
) -> None:
    redeem, notifier = Listening(), Listening()
    async with pipe(settings, tenant, redeem, notifier) as earn:
        await tell(earn, 10)
        await eventually(lambda: len(redeem.events) == len(notifier.events) == 10)
        await tell(earn, 6)
        await eventually(lambda: len(redeem.events) == len(notifier.events) == 16)
    await lose(settings, tenant, after=10)

    async with pipe(settings, tenant, redeem, notifier) as earn:
        await eventually(lambda: "commits were lost" in (earn.relay.trouble(after_s=30) or ""))
        async with opened(settings, tenant.code, "earn") as stream:
            await wait_until_drained(stream, within_s=10)
            judged = await stream.judge()
            assert [(one.n, one.heard_by) for one in judged.orphans] == [
                (n, ("redeem", "notifier")) for n in range(11, 17)
            ]
            # The operator's command dies in between, and is given again.
            assert await stream._decide(judged, actor="tester", reason="lost") == (1, 10)
        async with opened(settings, tenant.code, "earn") as stream:
            again = await stream.judge()
            assert again.adopted
            assert await stream.adopt(again, actor="tester", reason="lost") == 1
            with pytest.raises(NothingToAdopt):
                await stream.judge()
        # Where less was planned anew than a hearer has applied, it has nothing to give up.
        admin = await asyncpg.connect(dsn_for(settings, tenant.database))
        await admin.execute("BEGIN; SET search_path = redeem; UPDATE positions SET applied_through = 16")
        inbox = await admin.fetch("SELECT * FROM inbox ORDER BY entries")
        await deciding.consider_heard(admin, stream="earn", first=11, last=12)
        assert await admin.fetch("SELECT * FROM inbox ORDER BY entries") == inbox
        await admin.close()
        await tell(earn, 3)
        for one in (redeem, notifier):
            await eventually(lambda one=one: len(one.events) == 19)  # type: ignore[misc]
            assert sorted(one.events)[-3:] == [17, 18, 19]
            assert one.orphans == {}  # what they had heard under these ids stays what they heard
        audited = await stream_audit(settings, tenant)
        assert audited == [("tester", "stream/earn", 6)]
        report = await verify_tenant(settings, tenant.code, wait_until_settled_s=10)
        assert {name: report[name].verdict for name in HELD} == dict.fromkeys(HELD, "holds")


async def stream_audit(settings: Settings, tenant: Tenant) -> list[tuple[str, str, int]]:
    admin = await asyncpg.connect(dsn_for(settings, tenant.database))
    rows = await admin.fetch(
        "SELECT actor, object, (after->>'orphans')::int AS orphans FROM earn.audit WHERE action = 'stream.adopted'"
    )
    await admin.close()
    return [(row["actor"], row["object"], row["orphans"]) for row in rows]


async def test_where_the_stories_part_is_seen_in_what_the_stream_still_has_else_it_must_be_said(
    settings: Settings, tenant: Tenant
) -> None:
    redeem = Listening()
    async with running(settings, tenant, "earn", {Say: say}) as earn:
        await tell(earn, 8)
        await eventually(lambda: earn.relay.trouble(after_s=30) is None)
        async with running(settings, tenant, "redeem", _on(redeem), hears=("earn",)):
            await eventually(lambda: len(redeem.events) == 8)
        await tell(earn, 4)
    await lose(settings, tenant, after=8)
    async with running(settings, tenant, "earn", {Say: say}) as earn:
        await eventually(lambda: "commits were lost" in (earn.relay.trouble(after_s=30) or ""))
        await tell(earn, 9)
        async with earn.read() as db:  # a relay that did not know better
            last = await queries.last_cut(db)
            await queries.cut_outbox(db, started_at=last["started_at"], outbox=last["outbox"])
        with pytest.raises(Halted, match="different stories"):
            await earn.relay.compare()
        async with opened(settings, tenant.code, "earn") as stream:
            judged = await stream.judge()
            assert (judged.published, judged.planned, judged.agreed_through) == (12, 17, 8)
            with pytest.raises(NotDrained, match="notifier has no consumer group"):
                await wait_until_drained(stream, within_s=0)
            await stream.redis.xtrim(stream.keys.stream("earn"), maxlen=0, approximate=False)
            with pytest.raises(ForkUnknown, match="agreed-through"):
                await stream.judge()
            judged = await stream.judge(agreed_through=8)
            assert [one.type for one in judged.orphans] == [None] * 4
            await stream.adopt(judged, actor="tester", reason="lost")
        earn.relay.wake()
        async with running(settings, tenant, "redeem", _on(redeem), hears=("earn",)):
            # The nine are told under new ids only; the four orphans after them.
            await eventually(lambda: len(redeem.events) == 17 and len(redeem.orphans) == 4)
            assert sorted(redeem.events) == [*range(1, 9), *range(18, 27)]
            assert sorted(redeem.orphans) == [27, 28, 29, 30]


async def test_a_postgresql_that_was_exchanged_is_compared_before_anything_is_cut(
    settings: Settings, tenant: Tenant
) -> None:
    redeem, notifier = Listening(), Listening()
    async with pipe(settings, tenant, redeem, notifier) as earn:
        await tell(earn, 1)
        await eventually(lambda: len(redeem.events) == len(notifier.events) == 1)
        await tell(earn, 2)
        await eventually(lambda: len(redeem.events) == len(notifier.events) == 3)
        async with opened(settings, tenant.code, "earn") as stream:
            while await stream.relay._highest_position() != 3:  # each hearer reports within a second
                await asyncio.sleep(0.05)
        await earn.relay.stop()
        assert earn._relaying is not None
        await earn._relaying
        await tell(earn, 2)
        async with earn.read() as db:
            last = await queries.last_cut(db)
            other = {"started_at": last["started_at"], "outbox": last["outbox"] + 1}
            assert await queries.cut_outbox(db, **other) is None
        # Redis lost the stream, PostgreSQL what was told: only the directory still knows that it was heard.
        await lose(settings, tenant, after=1)
        await earn.redis.delete(earn.keys.stream("earn"), earn.keys.head("earn"))
        with pytest.raises(Halted, match="3 was heard, PostgreSQL has planned only"):
            await earn.relay.compare()
        async with opened(settings, tenant.code, "earn") as stream:
            judged = await stream.judge()
            assert (judged.published, [one.n for one in judged.orphans]) == (3, [2, 3])


async def test_a_stream_is_filled_anew_when_it_is_asked_for(settings: Settings, tenant: Tenant) -> None:
    redeem, notifier = Listening(), Listening()
    async with pipe(settings, tenant, redeem, notifier) as earn:
        await tell(earn, 7)
        await eventually(lambda: len(redeem.events) == len(notifier.events) == 7)
        async with opened(settings, tenant.code, "earn") as stream:
            # What everybody has heard is trimmed: whoever fills it anew brings it back.
            await stream.redis.xtrim(stream.keys.stream("earn"), maxlen=2, approximate=False)
            before = await standing(stream)
            assert [entry_id for entry_id, _ in before[0]] == [b"6-0", b"7-0"]
            assert await stream.rebuild(start=3, dry_run=True) == 3
            assert await standing(stream) == before
            assert await stream.rebuild(start=1) == 1
            entries: Any = await stream.redis.xrange(stream.keys.stream("earn"))
            assert [entry_id for entry_id, _ in entries] == [b"%d-0" % n for n in range(1, 8)]
        await tell(earn, 1)
        await eventually(lambda: len(redeem.events) == len(notifier.events) == 8)
        assert sorted(redeem.events) == list(range(1, 9))


async def test_an_operator_looks_first_and_then_has_a_stream_filled_anew(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_administrator(settings, monkeypatch)
    command = ["stream", "rebuild", "--tenant", tenant.code, "--service", "earn", "--from", "2"]
    async with running(settings, tenant, "earn", {Say: say}) as earn:
        await tell(earn, 3)
        await eventually(lambda: earn.relay.published == 3)
    async with opened(settings, tenant.code, "earn") as stream:
        await stream.redis.xtrim(stream.keys.stream("earn"), maxlen=1, approximate=False)
        before = await standing(stream)
        dry = await asyncio.to_thread(CliRunner().invoke, app, [*command, "--dry-run"])
        assert (dry.exit_code, dry.stdout) == (
            0,
            "Both tell the same. The stream of earn would be emptied, and filled again from 2 on.\n",
        )
        told = await asyncio.to_thread(CliRunner().invoke, app, [*command, "--dry-run", "--json"])
        assert json.loads(told.stdout) == {"service": "earn", "from": 2, "rebuilt": False}
        assert await standing(stream) == before
        done = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[-1] == "The stream of earn was filled again from 2 on."
        entries, _, heads = await standing(stream)
        # It is filled from the cut that holds the second.
        assert [entry_id for entry_id, _ in entries][-2:] == [b"2-0", b"3-0"]
        assert heads[:3] == before[2][:3]


async def test_a_stream_that_tells_another_story_is_not_filled_anew(
    settings: Settings, tenant: Tenant
) -> None:
    async with running(settings, tenant, "earn", {Say: say}) as earn:
        await tell(earn, 1)
        await eventually(lambda: earn.relay.published == 1)
        await tell(earn, 2)
        await eventually(lambda: earn.relay.published == 3)
    await lose(settings, tenant, after=1)
    async with opened(settings, tenant.code, "earn") as stream:
        before = await standing(stream)
        for dry_run in (True, False):
            with pytest.raises(Halted, match=r"^PostgreSQL and the stream tell different stories$"):
                await stream.rebuild(start=1, dry_run=dry_run)
        assert await standing(stream) == before


async def test_a_stream_that_moves_meanwhile_is_filled_anew_all_the_same(
    settings: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two relays and load: what was seen of the stream is old when it is to be emptied. Then it is seen again."""
    async with running(settings, tenant, "earn", {Say: say}) as earn:
        await tell(earn, 3)
        await eventually(lambda: earn.relay.trouble(after_s=30) is None)
        async with opened(settings, tenant.code, "earn") as stream:
            heads, looks = stream.relay.heads, 0

            async def moving() -> Heads:
                nonlocal looks
                looks += 1
                seen = await heads()
                if looks < 4:  # once for the judgement, twice before it is emptied
                    await tell(earn, 1)
                    while await heads() == seen:
                        await asyncio.sleep(0.01)
                return seen

            monkeypatch.setattr(stream.relay, "heads", moving)
            name = stream.keys.stream("earn")
            await stream.redis.xtrim(name, maxlen=0, approximate=False)
            assert await stream.rebuild(start=1) == 1
            entries: Any = await stream.redis.xrange(name)
            assert [entry_id for entry_id, _ in entries] == [b"%d-0" % n for n in range(1, 7)]
            assert looks == 4
