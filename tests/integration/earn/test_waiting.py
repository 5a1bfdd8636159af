"""A bill for what earn does not know yet waits, and settles when it comes: never lost, never rejected once answered."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.earn.handlers import Settle, Tick
from services.earn.store import waiting
from shared.config import Settings
from shared.db import connect
from shared.events import EventData, MerchantChanged
from shared.messaging import Done, Refused
from shared.runtime import TenantRuntime
from tests.integration.earn.conftest import Shop, bill, somebody
from tests.integration.earn.oracle import noticed, objections, one_moment
from tests.integration.earn.test_refunds import post, refund
from tests.support.facts import activated
from tests.support.skew import clock_off

pytestmark = pytest.mark.asyncio(loop_scope="module")


MALL = MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T01", "T03"))


async def settled(shop: Shop, bill_id: str, status: str) -> dict[str, Any]:
    """The bill once it has this status."""
    found: dict[str, Any] = {}
    for _ in range(400):
        found = (await shop.get(f"/v1/bills/{bill_id}")).json()
        if found["status"] == status:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"still {found['status']}")


async def told_but_unclaimed(shop: Shop, bill_id: str) -> list[dict[str, Any]]:
    """Its events. The deadline is at once here: whether it was told as unclaimed before is a matter of when a job looked."""
    return [event for event in await shop.told(bill_id) if event["data"].get("status") != "unclaimed"]


async def caught_up(runtime: TenantRuntime) -> None:
    """As if members had published nothing that earn has not applied."""
    await runtime.redis.hset(runtime.keys.head("members"), mapping={"n": 0})


async def test_a_bill_for_an_unknown_member_waits_and_settles_at_the_enrolment(shop: Shop) -> None:
    member = somebody()
    answered = await shop.post(bill(member))
    assert (answered.status_code, answered.json()["status"], answered.json()["accruals"]) == (
        202,
        "waiting",
        [],
    )
    bill_id = answered.json()["bill_id"]
    assert answered.headers["location"] == f"/v1/bills/{bill_id}"
    await shop.hear(shop.enrolment(member))
    told = await settled(shop, bill_id, "earned")
    assert told["accruals"][0]["available"]["points"] == 90
    events = await told_but_unclaimed(shop, bill_id)
    assert [event["type"] for event in events] == ["bill.recorded.v1", "points.accrued.v1", "bill.settled.v1"]
    assert events[-1]["data"]["status"] == "earned"
    assert (
        await shop.auditor.fetchval("SELECT count(*) FROM earn.waiting WHERE bill_id::text = $1", bill_id)
        == 0
    )


async def test_a_till_that_repeats_a_bill_which_came_by_http_hears_of_its_end(
    shop: Shop, settings: Settings
) -> None:
    member = somebody()
    body = bill(member)
    bill_id = (await shop.post(body)).json()["bill_id"]
    before = len(await shop.replies())
    offered = [shop.event(body, event_id=f"{body['bill_ref']}-{k}") for k in range(2)]
    assert await shop.offer(*offered) == [Done(replayed=True)] * 2
    waiting_still = (await shop.replies())[before:]
    assert [(one["type"], one["data"]["status"], one["data"]["event_id"]) for one in waiting_still] == [
        ("bill.recorded.v1", "waiting", f"{body['bill_ref']}-{k}") for k in range(2)
    ]
    await shop.hear(shop.enrolment(member))
    await settled(shop, bill_id, "earned")
    last = (await shop.told(bill_id))[-1]
    data = last["data"]
    assert (last["type"], data["status"]) == ("bill.settled.v1", "earned")
    assert (data["source"], data["event_id"]) == ("/pos/riyadh-mall/T03", f"{body['bill_ref']}-0")
    assert [(one["source"], one["event_id"]) for one in data.pop("also_offered_by")] == [
        ("/pos/riyadh-mall/T03", f"{body['bill_ref']}-1")
    ]
    # Whoever asks again is told what stands, under the id under which it was told.
    assert await shop.offer(offered[0]) == [Done(replayed=True)]
    again = (await shop.replies())[-1]
    assert {key: again[key] for key in ("id", "type", "sequence")} == {
        key: last[key] for key in ("id", "type", "sequence")
    }
    assert again["data"] | {"stream_id": None} == data | {"stream_id": None}
    assert (await shop.post(body)).json()["status"] == "waiting"  # by HTTP the first answer, as ever
    async with one_moment(settings, shop) as books:
        assert await objections(settings, shop, books, {"bills:settled"}) == {}
        for spoilt in (
            f"UPDATE earn.listeners SET event_id = 'x' WHERE subject_id = '{bill_id}' AND event_id LIKE '%-0'",
            f"DELETE FROM earn.listeners WHERE subject_id = '{bill_id}' AND event_id LIKE '%-1'",
            f"UPDATE earn.settled_events SET told = 1 WHERE subject_id = '{bill_id}' AND told = 2",
            f"UPDATE earn.settled_events SET event_id = gen_random_uuid() WHERE subject_id = '{bill_id}'",
        ):
            assert "bills:settled" in await noticed(settings, shop, books, spoilt, {"bills:settled"})


async def test_whoever_else_offers_a_waiting_bill_is_told_with_the_till_it_came_from(shop: Shop) -> None:
    member = somebody()
    body = bill(member)
    tills = [f"/pos/riyadh-mall/T{n}" for n in (3, 4, 5, 3)]
    offered = [
        shop.event(body, source=till, event_id=f"{n}-{body['bill_ref']}") for n, till in enumerate(tills)
    ]
    await shop.offer(offered[0])
    await shop.offer(*offered[1:3], offered[1])
    bill_id = await shop.bill_id(body["bill_ref"])
    await caught_up(shop.runtime)
    await settled(shop, bill_id, "unclaimed")
    await shop.offer(offered[0], offered[3])  # the first entry again is nobody new
    await shop.hear(shop.enrolment(member))
    await settled(shop, bill_id, "earned")
    told = [one["data"] for one in await shop.told(bill_id) if one["type"] == "bill.settled.v1"]
    assert [
        (one["status"], [one["source"], *[other["source"] for other in one["also_offered_by"]]])
        for one in told
    ] == [("unclaimed", tills[:3]), ("earned", tills)]


async def test_a_bill_that_came_both_ways_in_one_batch_is_told_to_its_till(shop: Shop) -> None:
    member = somebody()
    body = bill(member)
    posted, _ = await asyncio.gather(shop.post(body), shop.offer(shop.event(body)))
    bill_id = (await shop.get("/v1/bills", merchant=body["merchant"], bill_ref=body["bill_ref"])).json()[
        "bill_id"
    ]
    assert posted.status_code in {200, 202}
    await shop.hear(shop.enrolment(member))
    await settled(shop, bill_id, "earned")
    assert (await shop.told(bill_id))[-1]["data"]["event_id"] == body["bill_ref"]


async def test_a_callers_trace_goes_on_in_every_event_of_its_bill_also_after_a_wait(shop: Shop) -> None:
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    attribute = "00-00000000000000004111111111111111-4111111111111111-00"  # a trace, and no payment card
    by_http, by_stream, untraced = somebody(), somebody(), somebody()
    answered = await shop.client.post(
        "/v1/bills", json=bill(by_http), headers={**shop.headers("till"), "traceparent": header}
    )
    ids = [answered.json()["bill_id"]]
    offered = [bill(by_stream), bill(untraced)]
    await shop.offer(
        shop.event(offered[0], traceparent=attribute), shop.event(offered[1], traceparent="nonsense")
    )
    for body in offered:
        found = await shop.get("/v1/bills", merchant=body["merchant"], bill_ref=body["bill_ref"])
        ids.append(found.json()["bill_id"])
    await shop.hear(*[shop.enrolment(member) for member in (by_http, by_stream, untraced)])
    for bill_id, traceparent in zip(ids, (header, attribute, None), strict=True):
        await settled(shop, bill_id, "earned")
        events = await told_but_unclaimed(shop, bill_id)
        assert [event["type"] for event in events] == [
            "bill.recorded.v1",
            "points.accrued.v1",
            "bill.settled.v1",
        ]
        assert [event.get("traceparent") for event in events] == [traceparent] * 3
    [rejected] = [await shop.offer(shop.event({**offered[0], "total_minor": 1}, traceparent=attribute))]
    assert isinstance(rejected[0], Refused)
    [told] = await shop.told(f"riyadh-mall/{offered[0]['bill_ref']}")
    assert (told["type"], told["traceparent"]) == ("bill.rejected.v1", attribute)


async def test_the_events_of_a_bill_that_waited_are_counted_without_a_gap(shop: Shop) -> None:
    member = somebody()
    await caught_up(shop.runtime)
    bill_id = (await shop.post(bill(member))).json()["bill_id"]
    await settled(shop, bill_id, "unclaimed")
    await shop.hear(shop.enrolment(member))
    await settled(shop, bill_id, "earned")
    events = await shop.told(bill_id)
    assert [(event["type"], event["data"].get("status"), int(event["sequence"])) for event in events] == [
        ("bill.recorded.v1", "waiting", 1),
        ("bill.settled.v1", "unclaimed", 2),
        ("points.accrued.v1", None, 3),
        ("bill.settled.v1", "earned", 4),
    ]
    why = (await shop.get(f"/v1/bills/{bill_id}/why")).json()["judgements"]
    assert [one["status"] for one in why] == ["waiting", "unclaimed", "earned"]
    assert why[0]["words"][-1] == "It waits for a member with the mobile that it names, not known yet."


async def test_the_deadline_does_not_run_while_members_has_told_what_earn_has_not_heard(shop: Shop) -> None:
    await shop.runtime.redis.hset(shop.runtime.keys.head("members"), mapping={"n": 5})
    before = await shop.auditor.fetchval("SELECT running_ms FROM earn.waiting_clock")
    await shop.post(bill(somebody()))
    await asyncio.sleep(2.2)
    assert await shop.auditor.fetchval("SELECT running_ms FROM earn.waiting_clock") == before


async def deadline_clock(shop: Shop) -> tuple[int, datetime]:
    """What it has run, in milliseconds, and when it was looked at last."""
    row = await shop.auditor.fetchrow("SELECT running_ms, ticked_at FROM earn.waiting_clock")
    assert row is not None
    return row["running_ms"], row["ticked_at"]


@pytest.mark.parametrize("apart_s", [20, 40])
async def test_the_deadline_runs_by_postgresqls_clock_whatever_those_of_its_processes_say(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, apart_s: int
) -> None:
    await caught_up(shop.runtime)
    await shop.runtime.do(Tick(runs=True), job="test")
    ran, since = await deadline_clock(shop)
    for ahead in (True, False) * 3:
        with monkeypatch.context() as wrong:
            clock_off(wrong, timedelta(seconds=apart_s if ahead else 0))
            await asyncio.sleep(0.05)
            await shop.runtime.do(Tick(runs=True), job="test")
    now_ran, now = await deadline_clock(shop)
    passed_ms = (now - since) / timedelta(milliseconds=1)
    assert 300 <= passed_ms < 10_000
    assert passed_ms - 20 <= now_ran - ran <= passed_ms  # each tick leaves less than a millisecond


async def test_the_deadlines_clock_never_goes_back_but_for_a_server_whose_clock_was_set_back(
    empty_shop: Shop, settings: Settings
) -> None:
    shop = empty_shop
    db = await connect(settings.admin_dsn(), database=shop.runtime.tenant.database)

    async def ticked(ahead: str) -> tuple[int, timedelta]:
        """What a tick adds, and how far it moves the clock, that was looked at so far ahead of PostgreSQL's present."""
        before = await db.fetchval(
            f"UPDATE earn.waiting_clock SET ticked_at = now() + interval '{ahead}' RETURNING ticked_at"
        )
        ran, _ = await deadline_clock(shop)
        await shop.runtime.do(Tick(runs=True), job="test")
        now_ran, at = await deadline_clock(shop)
        return now_ran - ran, at - before

    assert await ticked("20 seconds") == (0, timedelta())
    added, moved = await ticked("1 hour")
    assert (added, timedelta(hours=-1) < moved < timedelta(minutes=-59)) == (0, True)
    await db.close()


async def test_a_bill_is_settled_by_a_server_whose_clock_is_behind_that_of_the_one_that_recorded_it(
    shop: Shop, settings: Settings
) -> None:
    member = somebody()
    body = bill(member)
    bill_id = (await shop.post(body)).json()["bill_id"]
    db = await connect(settings.admin_dsn(), database=shop.runtime.tenant.database)
    await db.execute("SET session_replication_role = replica")  # the tables are append-only
    for table in ("bills", "decisions", "bill_keys", "waiting"):
        await db.execute(
            f"UPDATE earn.{table} SET recorded_at = recorded_at + interval '10 minutes' WHERE bill_id = $1",
            UUID(bill_id),
        )
    await db.close()
    await shop.hear(shop.enrolment(member))
    told = await settled(shop, bill_id, "earned")
    [listed] = (await shop.get("/v1/bills", wallet_id=str(member.wallet_id))).json()["items"]
    assert listed == told
    assert (await post(shop, refund(body, all=True))).json()["status"] == "pending"
    events = await shop.told(bill_id)
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))


async def test_a_bill_waits_for_one_thing_after_the_other_in_any_order(empty_shop: Shop) -> None:
    shop, member = empty_shop, somebody()
    facts: list[EventData] = [
        shop.enrolment(member),
        MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T01",)),
        activated("shops"),
        MerchantChanged(merchant="riyadh-mall", version=2, terminals=("T01", "T03")),
    ]
    answered = await shop.post(bill(member))
    assert answered.status_code == 202
    bill_id = answered.json()["bill_id"]
    for fact in facts[:-1]:
        await shop.hear(fact)
        await asyncio.sleep(0.1)
        assert (await shop.get(f"/v1/bills/{bill_id}")).json()["status"] in ("waiting", "unclaimed")
    await shop.hear(facts[-1])
    assert (await settled(shop, bill_id, "earned"))["accruals"][0]["available"]["points"] == 90


async def test_an_anonymous_bill_waits_for_its_merchant(empty_shop: Shop) -> None:
    bill_id = (await empty_shop.post(bill())).json()["bill_id"]
    await empty_shop.hear(activated("shops"), MALL)
    assert (await settled(empty_shop, bill_id, "anonymous"))["accruals"] == []


async def test_a_bill_for_a_programme_that_is_not_known_waits_for_it(shop: Shop) -> None:
    member = await shop.member("shops", "tomorrow")
    bill_id = (await shop.post(bill(member, programmes=["tomorrow"]))).json()["bill_id"]
    await shop.hear(activated("tomorrow"))
    assert (await settled(shop, bill_id, "earned"))["accruals"][0]["programme"] == "tomorrow"


async def test_a_card_alone_does_not_make_a_member_known(shop: Shop) -> None:
    member = somebody()
    await shop.card(member, "6270158304941178")
    answered = await shop.post(bill(member={"card_number": "6270158304941178"}))
    assert answered.status_code == 202
    await shop.hear(shop.enrolment(member))
    await settled(shop, answered.json()["bill_id"], "earned")


async def test_a_waiting_bill_is_never_rejected(shop: Shop) -> None:
    member = somebody()
    bill_id = (await shop.post(bill(member, currency="SAR", programmes=["later"]))).json()["bill_id"]
    euro = dict(activated("later").document["programme"], code="later", currency="EUR")
    later = activated("later")
    later.document["programme"] = euro
    await shop.hear(shop.enrolment(member, "later"), later)
    assert (await settled(shop, bill_id, "nothing"))["accruals"] == []


async def test_the_wait_of_a_bill_does_not_count_against_its_age(shop: Shop) -> None:
    member = somebody()
    answered = await shop.post(bill(member, occurred_at="2026-10-23T12:10:00Z"))
    bill_id = answered.json()["bill_id"]
    shop.at(datetime(2027, 1, 1, tzinfo=UTC))
    await shop.hear(shop.enrolment(member))
    await settled(shop, bill_id, "earned")


async def test_many_bills_meet_their_member_however_the_two_race(shop: Shop) -> None:
    members = [somebody() for _ in range(30)]
    answers = await asyncio.gather(
        *[shop.post(bill(member)) for member in members],
        *[shop.hear(shop.enrolment(member)) for member in members],
    )
    for answered in answers[: len(members)]:
        assert answered is not None
        told = await settled(shop, answered.json()["bill_id"], "earned")
        assert told["accruals"][0]["available"]["points"] == 90
    kept = await shop.auditor.fetchval("SELECT count(*) FROM earn.accruals WHERE points > 0")
    announced = [event for event in await shop.told() if event["type"] == "points.accrued.v1"]
    assert kept == len({event["data"]["accrual_id"] for event in announced}) == len(announced)


async def test_settling_twice_settles_once(shop: Shop) -> None:
    member = somebody()
    answered = await shop.post(bill(member))
    bill_id = answered.json()["bill_id"]
    await shop.hear(shop.enrolment(member))
    waiting = await shop.auditor.fetchval(
        "SELECT bill_id FROM earn.bill_keys WHERE bill_id::text = $1", bill_id
    )
    await asyncio.gather(*[shop.runtime.do(Settle(waiting), job="test") for _ in range(5)])
    await settled(shop, bill_id, "earned")
    assert [event["type"] for event in await shop.told(bill_id)].count("points.accrued.v1") == 1


async def test_a_bill_that_was_overlooked_is_found_by_the_sweep(shop: Shop) -> None:
    """Facts that came without their mark stand for a mark that was lost."""
    member = somebody()
    bill_id = (await shop.post(bill(member))).json()["bill_id"]
    enrolment = shop.enrolment(member)
    async with shop.runtime.read() as db:
        await db.execute("INSERT INTO members VALUES ($1, now())", member.member_id)
        identity = bytes.fromhex(enrolment.identities[0].hash)
        await db.execute("INSERT INTO identities VALUES ($1, 'mobile', $2)", identity, member.member_id)
        await db.execute("INSERT INTO wallets VALUES ($1, $2, 'shops')", member.wallet_id, member.member_id)
        [overlooked] = await waiting.overlooked_bills(db)
    assert str(overlooked) == bill_id
    await shop.runtime.do(Settle(overlooked), job="test")
    assert (await settled(shop, bill_id, "earned"))["accruals"][0]["available"]["points"] == 90
