"""The till against a real stream; the test itself answers, as earn and the notifier would."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from pointbank.embedded import Servers
from pointbank.journal import Answered, Placed, read
from pointbank.till import BillToOffer, Unanswered, open_till

TENANT = "till-test"
POS = f"pb:{{main}}:{TENANT}:pos"
SOURCE = "/pos/riyadh-mall/T03"
OUT = f"pb:{{main}}:{TENANT}:out:riyadh-mall.T03"


@pytest.fixture
async def redis(servers: Servers) -> AsyncIterator[Any]:
    client: Any = Redis.from_url(servers.redis_url)
    keys = await client.keys(f"pb:{{main}}:{TENANT}:*")
    if keys:
        await client.delete(*keys)
    yield client
    await client.aclose()


def bills(count: int) -> list[BillToOffer]:
    return [
        BillToOffer(
            SOURCE, f"RM-{number}", json.dumps({"bill_ref": f"RM-{number}"}).encode(), "2026-11-22T08:31:04Z"
        )
        for number in range(count)
    ]


async def answer(
    redis: Any, *, after: str = "0-0", status: Callable[[dict[str, Any]], str] = lambda _: "earned"
) -> str:
    """Answers each entry after `after`; returns the last one's id."""
    entries = await redis.xrange(POS, min=f"({after}")
    async with redis.pipeline(transaction=False) as pipe:
        for entry, fields in entries:
            after = entry.decode()
            event = json.loads(fields[b"event"])
            data = {"source": event["source"], "event_id": event["id"], "stream_id": after}
            data |= {"status": status(event), "bill_id": "b-" + event["id"], "accruals": []}
            pipe.xadd(
                OUT, {"event": json.dumps({"id": "e-" + after, "type": "bill.recorded.v1", "data": data})}
            )
        await pipe.execute()
    return after


async def test_each_bill_is_offered_once_and_its_answer_is_journalled(
    servers: Servers, redis: Any, tmp_path: Path
) -> None:
    async with open_till(servers.redis_url, tmp_path / "till.jsonl", tenant=TENANT) as till:
        await till.offer(bills(2100))
        assert await redis.xlen(POS) == 2100
        await answer(redis)
        await till.wait(timeout_s=10)
        assert (till.counts.offered, till.counts.answered, till.unanswered) == (2100, 2100, 0)
        final = till.answer_to(SOURCE, "RM-7")
        assert final is not None
        assert final.bill_id == "b-RM-7"
    answers = {entry.id for entry in read(tmp_path / "till.jsonl") if isinstance(entry, Answered)}
    assert answers == {bill.id for bill in bills(2100)}


async def test_after_a_crash_what_was_unanswered_is_offered_again_under_the_same_id(
    servers: Servers, redis: Any, tmp_path: Path
) -> None:
    journal = tmp_path / "till.jsonl"
    async with open_till(servers.redis_url, journal, tenant=TENANT) as till:
        await till.offer(bills(3))
        last = await answer(redis)
        await till.wait(timeout_s=5)
        await till.offer(bills(5))
    first = [fields[b"event"] for _, fields in await redis.xrange(POS)][3:]
    async with open_till(servers.redis_url, journal, tenant=TENANT, patience_s=0.3) as till:
        assert till.unanswered == 2
        with pytest.raises(Unanswered):
            await till.wait(timeout_s=1)
        again = [fields[b"event"] for _, fields in await redis.xrange(POS)][8:]
        assert again[:2] == first[3:5]
        await answer(redis, after=last)
        await till.wait(timeout_s=5)
        assert (till.counts.offered, till.counts.answered) == (5, 5)


async def test_a_flushed_redis_costs_time_and_nothing_else(
    servers: Servers, redis: Any, tmp_path: Path
) -> None:
    async with open_till(servers.redis_url, tmp_path / "till.jsonl", tenant=TENANT, patience_s=0.3) as till:
        await till.offer(bills(4))
        await answer(redis)
        await till.wait(timeout_s=5)
        await till.offer([BillToOffer(SOURCE, "RM-late", b"{}", "2026-11-22T08:31:04Z")])
        await redis.delete(POS, OUT)
        # The new out stream begins below where the till stood.
        await redis.xadd(
            OUT, {"event": json.dumps({"id": "e", "type": "bill.recorded.v1", "data": {}})}, id="1-1"
        )

        async def answer_what_comes() -> None:
            while not await redis.xlen(POS):
                await asyncio.sleep(0.05)
            event = json.loads((await redis.xrange(POS))[0][1][b"event"])
            data = {"source": event["source"], "event_id": event["id"], "status": "earned", "bill_id": "b"}
            said = {"id": "e", "type": "bill.recorded.v1", "data": data}
            await redis.xadd(OUT, {"event": json.dumps(said)}, id="1-2")

        await asyncio.gather(till.wait(timeout_s=10), answer_what_comes())
        assert till.unanswered == 0


async def test_a_redis_that_takes_no_writes_keeps_nobody_from_offering_later(
    servers: Servers, redis: Any, tmp_path: Path
) -> None:
    """As with a full disk (MISCONF): it is there, and refuses."""
    async with open_till(servers.redis_url, tmp_path / "till.jsonl", tenant=TENANT) as till:
        await redis.config_set("min-replicas-to-write", 1)
        try:
            offering = asyncio.create_task(till.offer(bills(3), timeout_s=10))
            await asyncio.sleep(0.3)
            assert not offering.done()
        finally:
            await redis.config_set("min-replicas-to-write", 0)
        await offering
        assert await redis.xlen(POS) == 3


async def test_a_redis_that_is_full_costs_a_till_time_and_no_bill(
    servers: Servers, redis: Any, tmp_path: Path
) -> None:
    """Soak, seed 21: the till gave up there, with bills in its hand. It offers none, neither new nor once more, and keeps all."""
    async with open_till(servers.redis_url, tmp_path / "till.jsonl", tenant=TENANT, patience_s=0.1) as till:
        await till.offer(bills(2))
        await redis.config_set("maxmemory", "1mb")
        try:
            waiting = asyncio.create_task(till.wait(timeout_s=10))
            await asyncio.sleep(0.5)
            assert not waiting.done()
        finally:
            await redis.config_set("maxmemory", "0")
        await answer(redis)
        await waiting
        await redis.config_set("maxmemory", "1mb")
        try:
            offering = asyncio.create_task(till.offer(bills(4), timeout_s=10))
            await asyncio.sleep(0.3)
            assert not offering.done()
            assert till.unanswered == 4
        finally:
            await redis.config_set("maxmemory", "0")
        await offering
        offered = [json.loads(fields[b"event"])["id"] for _, fields in await redis.xrange(POS)]
        assert offered[-4:] == ["RM-0", "RM-1", "RM-2", "RM-3"]
        assert set(offered[:-4]) == {"RM-0", "RM-1"}


async def test_waiting_is_an_answer_and_not_yet_settled(servers: Servers, redis: Any, tmp_path: Path) -> None:
    async with open_till(servers.redis_url, tmp_path / "till.jsonl", tenant=TENANT, patience_s=0.3) as till:
        await till.offer(bills(2))
        last = await answer(redis, status=lambda event: "waiting" if event["id"] == "RM-1" else "earned")
        await till.wait(timeout_s=5)
        assert till.waiting == 1
        with pytest.raises(Unanswered):
            await till.wait(settled=True, timeout_s=1)
        await answer(redis, after=last)  # earn's answer to the repetition, when the member came
        await till.wait(settled=True, timeout_s=5)
        assert till.waiting == 0


async def test_what_waited_and_is_refused_by_a_service_that_lost_it_waits_no_more(
    servers: Servers, redis: Any, tmp_path: Path
) -> None:
    """Soak, seed 12: a refund waited, its commit was lost, another took all there was; the till offered it again for ever."""
    path = tmp_path / "till.jsonl"

    async def refuse(code: str) -> None:
        data = {"source": SOURCE, "event_id": "RM-0", "code": code}
        said = json.dumps({"id": f"e-{code}", "type": "bill.rejected.v1", "data": data})
        await redis.xadd(OUT, {"event": said})

    async with open_till(servers.redis_url, path, tenant=TENANT, patience_s=0.1) as till:
        await till.offer(bills(1))
        await answer(redis, status=lambda _: "pending")
        await refuse("id_reused")  # of another body under this id: what waits is not touched by it
        with pytest.raises(Unanswered):
            await till.wait(settled=True, timeout_s=0.3)
        await refuse("refund_exceeds_bill")
        await till.wait(settled=True, timeout_s=5)
        final = till.answer_to(SOURCE, "RM-0")
        assert final is not None
        assert (final.status, final.code) == ("rejected", "refund_exceeds_bill")
        assert (till.waiting, till.counts.answered, till.counts.rejected) == (0, 1, 1)


async def test_bytes_that_are_no_bill_are_placed_and_answered(
    servers: Servers, redis: Any, tmp_path: Path
) -> None:
    async with open_till(servers.redis_url, tmp_path / "till.jsonl", tenant=TENANT) as till:
        entry = await till.place(b"\xff not an event")
        assert till.unanswered == 1
        data = {"source": None, "event_id": None, "stream_id": entry, "code": "not_utf8"}
        said = json.dumps({"id": "e", "type": "bill.rejected.v1", "data": data})
        await redis.xadd(f"pb:{{main}}:{TENANT}:out:pos", {"event": said})
        await till.wait(timeout_s=5)
        assert till.unanswered == 0
    entries = list(read(tmp_path / "till.jsonl"))
    assert [one.base64 for one in entries if isinstance(one, Placed)] == ["/yBub3QgYW4gZXZlbnQ="]
    assert [(one.entry, one.code) for one in entries if isinstance(one, Answered)] == [(entry, "not_utf8")]


async def test_replies_left_by_an_earlier_till_do_not_answer_a_repetition(
    servers: Servers, redis: Any, tmp_path: Path
) -> None:
    journal = tmp_path / "till.jsonl"
    async with open_till(servers.redis_url, journal, tenant=TENANT) as till:
        await till.offer(bills(2))
        last = await answer(redis)
        await till.wait(timeout_s=5)
        await till.offer(bills(2))
        last = await answer(redis, after=last)
    async with open_till(servers.redis_url, journal, tenant=TENANT) as till:
        await till.offer(bills(2))
        with pytest.raises(Unanswered):
            await till.wait(timeout_s=0.5)
        await answer(redis, after=last)
        await till.wait(timeout_s=5)
        assert (till.counts.offered, till.counts.answers) == (2, 6)
