"""Tills' replies: each on the stream of its till, as heard, before the batch that remembers them commits."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.notifier.handlers import tell
from shared.events import (
    ActivationSettled,
    BillRecorded,
    BillRejected,
    BillSettled,
    EventData,
    RefundSettled,
    encode_event,
)
from shared.events.bills import OfferedBy
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Tx
from shared.messaging.sizes import StreamBytes
from shared.runtime import TenantRuntime
from shared.tills import till_of
from tests.support.facts import AT, heard
from tests.support.skew import clock_off


def answer(source: str | None, *, settled: bool = False) -> BillRecorded | BillSettled:
    kind = BillSettled if settled else BillRecorded
    return kind(
        bill_id=uuid7(),
        status="waiting" if not settled else "earned",
        merchant="riyadh-mall",
        bill_ref="r-1",
        occurred_at=AT,
        accruals=(),
        stream_id=None if source is None else "1-0",
        source=source,
        event_id=None if source is None else "r-1",
    )


def rejected(source: str | None) -> BillRejected:
    return BillRejected(
        stream_id="1795336380000-0",
        source=source,
        event_id=None,
        merchant=None,
        bill_ref=None,
        code="not_json",
        detail="It is not JSON.",
    )


def as_heard(event: EventData) -> Item[Any]:
    event_id = uuid7()
    payload = encode_event(
        event, event_id=event_id, subject="s", time=AT, tenant="acme", request_id="r", sequence=1
    )
    return heard(event, event_id=event_id, payload=payload)


async def replies(runtime: TenantRuntime, till: str) -> list[bytes]:
    entries: Any = await runtime.redis.xrange(runtime.keys.out(till))
    return [fields[b"event"] for _, fields in entries]


async def test_replies_go_to_their_tills_as_they_were_heard(notifier: TenantRuntime) -> None:
    t3, t4 = "/pos/riyadh-mall/T03", "/pos/riyadh-mall/T04"
    items = [as_heard(event) for event in (answer(t3), answer(t4), answer(t3, settled=True), rejected(t3))]
    assert await notifier.lane.submit_many(items) == [Done()] * 4
    assert await replies(notifier, "riyadh-mall.T03") == [
        items[0].payload,
        items[2].payload,
        items[3].payload,
    ]
    assert await replies(notifier, "riyadh-mall.T04") == [items[1].payload]
    first = msgspec.json.decode((await replies(notifier, "riyadh-mall.T03"))[0])
    assert (first["type"], first["id"]) == ("bill.recorded.v1", items[0].event_id)


async def test_what_tills_were_told_counts_among_what_the_tenant_takes_of_redis(
    notifier: TenantRuntime,
) -> None:
    await notifier.lane.submit_many([as_heard(answer(f"/pos/riyadh-mall/T{k}")) for k in (71, 72)])
    sizes = notifier.cache[StreamBytes]
    sizes._asked_at = float("-inf")
    await sizes.tell()
    streams: Any = await notifier.redis.keys(notifier.keys.out("*"))
    assert len(streams) >= 2
    each = [await notifier.redis.memory_usage(stream, samples=5) or 0 for stream in streams]
    labels = {"service": "notifier", "tenant": notifier.code, "kind": "out"}
    shown = notifier.metrics.registry.get_sample_value("pointbank_stream_bytes", labels)
    assert shown == sum(each) > 0


async def test_a_settled_bill_is_told_to_every_till_that_offered_it_each_by_its_own_entry(
    notifier: TenantRuntime,
) -> None:
    others = (
        OfferedBy(stream_id="2-0", source="/pos/riyadh-mall/T04", event_id="again"),
        OfferedBy(stream_id="3-0", source="/pos/riyadh-mall/T03", event_id="again"),
    )
    settled = msgspec.structs.replace(answer("/pos/riyadh-mall/T03", settled=True), also_offered_by=others)
    item = as_heard(settled)
    await notifier.lane.submit(item)
    told = [
        (
            till,
            one["id"],
            one["sequence"],
            one["data"]["stream_id"],
            one["data"]["event_id"],
            "also_offered_by" in one["data"],
        )
        for till in ("riyadh-mall.T03", "riyadh-mall.T04")
        for one in map(msgspec.json.decode, await replies(notifier, till))
    ]
    assert told == [
        ("riyadh-mall.T03", item.event_id, "000000000001", "1-0", "r-1", False),
        ("riyadh-mall.T03", item.event_id, "000000000001", "3-0", "again", False),
        ("riyadh-mall.T04", item.event_id, "000000000001", "2-0", "again", False),
    ]


async def test_a_settled_refund_and_an_activation_are_told_to_every_till_as_a_bill_is(
    notifier: TenantRuntime,
) -> None:
    others = (OfferedBy(stream_id="2-0", source="/pos/riyadh-mall/T62", event_id="again"),)
    entry = {"stream_id": "1-0", "source": "/pos/riyadh-mall/T61", "event_id": "first"}
    events: list[EventData] = [
        RefundSettled(
            refund_id=uuid7(), bill_id=uuid7(), merchant="riyadh-mall", refund_ref="x-1", status="completed",
            refunded_minor=1, currency="SAR", reversals=(), also_offered_by=others, **entry,
        ),
        ActivationSettled(
            bill_id=uuid7(), status="activated", merchant="riyadh-mall", bill_ref="r-1", occurred_at=AT,
            also_offered_by=others, **entry,
        ),
    ]  # fmt: skip
    items = [as_heard(event) for event in events]
    await notifier.lane.submit_many(items)
    told = {
        till: [
            (one["id"], one["type"], one["data"]["event_id"], "also_offered_by" in one["data"])
            for one in map(msgspec.json.decode, await replies(notifier, f"riyadh-mall.{till}"))
        ]
        for till in ("T61", "T62")
    }
    types = ("refund.settled.v1", "activation.settled.v1")
    assert told == {
        "T61": [(item.event_id, type_, "first", False) for item, type_ in zip(items, types, strict=True)],
        "T62": [(item.event_id, type_, "again", False) for item, type_ in zip(items, types, strict=True)],
    }


async def test_tills_with_the_longest_codes_and_with_dots_in_them_are_each_told_their_own(
    notifier: TenantRuntime,
) -> None:
    long = f"/pos/{'m' * 64}/{'t' * 63}"
    sources = [f"{long}1", f"{long}2", "/pos/a.b/T1", "/pos/a/b.T1"]
    items = [as_heard(answer(source)) for source in sources]
    await notifier.lane.submit_many(items)
    told = [await replies(notifier, till_of(source)) for source in sources]
    assert told == [[item.payload] for item in items]


async def test_what_nobody_could_read_is_answered_on_the_common_stream(notifier: TenantRuntime) -> None:
    item = as_heard(rejected(None))
    await notifier.lane.submit(item)
    assert await replies(notifier, "pos") == [item.payload]


async def test_a_bill_by_http_is_not_fanned_out(notifier: TenantRuntime) -> None:
    await notifier.lane.submit(as_heard(answer(None)))
    assert await notifier.redis.keys(notifier.keys.out("*")) == []


async def test_a_reply_is_out_before_the_commit_and_comes_again_after_a_roll_back(
    notifier: TenantRuntime,
) -> None:
    """The transaction fails once after the fan-out: the reply may repeat, with its event id, but is never lost."""
    item = as_heard(answer("/pos/a/b"))
    writer = notifier.lane._writer
    failed: list[list[bytes]] = []

    async def tell_and_fail_once(tx: Tx, items: Sequence[Item[Any]]) -> list[Outcome]:
        outcomes = await tell(tx, items)

        async def fail() -> None:
            if not failed:
                failed.append(await replies(notifier, "a.b"))
                raise ConnectionError("PostgreSQL went away")

        tx.before_commit(fail)
        return outcomes

    with pytest.raises(ConnectionError):
        await writer.write([item], tell_and_fail_once)
    await writer.write([item], tell_and_fail_once)
    assert failed == [[item.payload]]
    assert await replies(notifier, "a.b") == [item.payload, item.payload]


async def test_old_replies_are_trimmed_when_new_ones_come(notifier: TenantRuntime) -> None:
    stream = notifier.keys.out("a.b")
    eight_days_ago = int(time.time() * 1000) - 8 * 24 * 3600 * 1000
    async with notifier.redis.pipeline(transaction=False) as pipe:
        for k in range(1000):
            pipe.xadd(stream, {"event": b"old"}, id=f"{eight_days_ago + k}-0")
        await pipe.execute()
    await notifier.lane.submit(as_heard(answer("/pos/a/b")))
    # Redis drops whole nodes (100 entries by default), so a rest of the oldest may stay a while.
    assert await notifier.redis.xlen(stream) <= 101


async def test_replies_of_the_last_days_stay_where_a_process_takes_them_for_old(
    notifier: TenantRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine is nine days ahead; the ids of replies are of Redis' clock."""
    stream = notifier.keys.out("a.b")
    a_day_ago = int(time.time() * 1000) - 24 * 3600 * 1000
    async with notifier.redis.pipeline(transaction=False) as pipe:
        for k in range(300):
            pipe.xadd(stream, {"event": b"told"}, id=f"{a_day_ago + k}-0")
        await pipe.execute()
    monkeypatch.setattr("time.time", lambda: a_day_ago / 1000 + 10 * 24 * 3600)
    clock_off(monkeypatch, timedelta(days=9))
    await notifier.upkeep.compare_clocks()
    await notifier.lane.submit(as_heard(answer("/pos/a/b")))
    assert await notifier.redis.xlen(stream) == 301
