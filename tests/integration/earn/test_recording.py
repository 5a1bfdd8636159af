"""A bill is recorded and judged once, whatever way it comes and however often."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from services.earn.domain.bill import read_bill
from services.earn.handlers.record import FEW
from services.earn.store import nets
from shared.config import Settings
from shared.events import MerchantChanged
from shared.ids import uuid7
from shared.messaging import Done
from tests.integration.earn.conftest import Shop, bill
from tests.integration.earn.oracle import noticed, objections, one_moment
from tests.support.facts import activated
from tests.support.http import assert_problem
from tests.support.skew import clock_off
from tests.support.tenants import connect_as

pytestmark = pytest.mark.asyncio(loop_scope="module")


NO_POINTS = {"points": 0, "money": {"amount_minor": 0, "currency": "SAR"}}


async def test_the_contracts_bill_earns_108_points_at_gold(shop: Shop) -> None:
    member = await shop.member()
    event_id = await shop.standing(member, "gold", 1)
    body = bill(member)
    answered = await shop.post(body)
    assert answered.status_code == 201
    told = answered.json()
    bill_id = told.pop("bill_id")
    assert told == {
        "status": "earned",
        "merchant": "riyadh-mall",
        "bill_ref": body["bill_ref"],
        "occurred_at": "2026-11-22T08:31:04Z",
        "accruals": [
            {
                "programme": "shops",
                "programme_version": 1,
                "wallet_id": str(member.wallet_id),
                "tier": "gold",
                "available": {"points": 108, "money": {"amount_minor": 1080, "currency": "SAR"}},
                "held": NO_POINTS,
            }
        ],
    }
    recorded, accrued = await shop.told(bill_id)
    assert (recorded["type"], recorded["sequence"]) == ("bill.recorded.v1", "000000000001")
    assert recorded["data"] == {
        "bill_id": bill_id,
        **told,
        "stream_id": None,
        "source": None,
        "event_id": None,
    }
    assert (accrued["type"], accrued["sequence"]) == ("points.accrued.v1", "000000000002")
    data = accrued["data"]
    assert data.pop("accrual_id") != data["lots"][0].pop("lot_id")
    assert data == {
        "kind": "earn",
        "bill_id": bill_id,
        "member_id": str(member.member_id),
        "wallet_id": str(member.wallet_id),
        "programme": "shops",
        "programme_version": 1,
        "currency": "SAR",
        "point_value": "0.10",
        "effective_at": "2026-11-22T08:31:04Z",
        "decided_at": "2026-11-22T12:00:00Z",
        "points": 108,
        "lots": [{"points": 108, "expires_at": "2027-11-30T21:00:00Z"}],
    }
    why = (await shop.get(f"/v1/bills/{bill_id}/why")).json()
    [judgement] = why["judgements"]
    assert judgement["decision"]["programmes"][0]["tier_event_id"] == str(event_id)
    assert judgement["decision"]["programmes"][0]["tier_sequence"] == 1
    assert judgement["words"] == [
        "The bill is over 105.00 SAR in 2 lines.",
        f"In shops, version 1, at tier gold, as told by event {event_id}:",
        "Line 1, 90.00 SAR: rule everything earns (not: service-fees).",
        "Line 2, 15.00 SAR: rule service-fees earns nothing.",
        "Rule everything: 90.00 SAR earn 90 points.",
        "Times 1.2 and rounded: 108 points, 108 available and 0 held.",
    ]


async def test_a_bill_offered_by_a_till_is_answered_with_its_own_ids(shop: Shop) -> None:
    member = await shop.member()
    body = bill(member)
    [outcome] = await shop.offer(shop.event(body, requestid="till-request-7"))
    assert outcome == Done()
    recorded, accrued = await shop.told(await shop.bill_id(body["bill_ref"]))
    assert recorded["requestid"] == accrued["requestid"] == "till-request-7"
    assert recorded["causationid"] == body["bill_ref"]
    data = recorded["data"]
    assert (data["source"], data["event_id"], data["status"]) == (
        "/pos/riyadh-mall/T03",
        body["bill_ref"],
        "earned",
    )
    assert data["stream_id"] == shop.stream_id
    assert accrued["data"]["points"] == 90


async def test_a_repeated_bill_earns_once_and_the_till_gets_the_first_answer_again(shop: Shop) -> None:
    member = await shop.member()
    body = bill(member)
    event = shop.event(body)
    before = len(await shop.replies())
    first, second = await shop.offer(event, event)
    [third] = await shop.offer(event)
    assert (first, second, third) == (Done(), Done(replayed=True), Done(replayed=True))
    told = await shop.told(await shop.bill_id(body["bill_ref"]))
    assert [one["type"] for one in told] == ["bill.recorded.v1", "points.accrued.v1"]
    replies = (await shop.replies())[before:]
    assert [reply["id"] for reply in replies] == [told[0]["id"]] * 2
    assert [reply["data"] for reply in replies] == [told[0]["data"]] * 2


async def test_the_same_bill_by_stream_and_by_http_is_one_bill(shop: Shop) -> None:
    member = await shop.member()
    body = bill(member)
    posted = await shop.post(body)
    before = len(await shop.replies())
    assert await shop.offer(shop.event(body, event_id="another-id")) == [Done(replayed=True)]
    again = await shop.post(body)
    assert (posted.status_code, again.status_code) == (201, 200)
    assert again.json() == posted.json()
    [reply] = (await shop.replies())[before:]
    assert (reply["data"]["event_id"], reply["data"]["bill_id"]) == ("another-id", posted.json()["bill_id"])
    assert len(await shop.told(posted.json()["bill_id"])) == 2


async def test_the_last_instant_of_a_day_stays_in_it_by_stream_and_by_http(shop: Shop) -> None:
    body = bill(await shop.member(), occurred_at="2026-11-21T23:59:59.9999999Z")
    assert await shop.code_of(shop.event(body)) == ""
    answered = await shop.post({**body, "occurred_at": "2026-11-22T02:59:59.999999+03:00"})
    assert (answered.status_code, answered.json()["occurred_at"]) == (200, "2026-11-21T23:59:59.999999Z")
    assert (await shop.post(body)).status_code == 200
    assert await shop.code_of(shop.event(body)) == ""


async def test_an_offset_may_lack_its_colon_by_stream_and_by_http(shop: Shop) -> None:
    body = bill(await shop.member(), occurred_at="2026-11-22T11:31:04+0300")
    answered = await shop.post(body)
    assert (answered.status_code, answered.json()["occurred_at"]) == (201, "2026-11-22T08:31:04Z")
    assert await shop.code_of(shop.event(body)) == ""
    assert await shop.count("bill_keys WHERE bill_ref = '" + body["bill_ref"] + "'") == 1


async def test_what_is_left_out_and_what_is_null_is_the_same_content(shop: Shop) -> None:
    body = bill(cashier=None, programmes=None)
    first = await shop.post(body)
    del body["cashier"], body["programmes"]
    assert (await shop.post(body)).json() == first.json()


async def test_another_bill_under_the_same_reference_is_a_conflict(shop: Shop) -> None:
    body = bill()
    other = {**body, "cashier": "c118"}
    await shop.post(body)
    assert_problem(await shop.post(other), 409, "bill_conflict")
    assert await shop.code_of(shop.event(other, event_id="by-stream")) == "bill_conflict"
    assert await shop.code_of(shop.event(body, event_id="by-stream")) == "id_reused"


async def test_an_id_used_for_another_bill_is_refused_also_within_a_batch(shop: Shop) -> None:
    one, other = bill(), bill()
    event_id = one["bill_ref"]
    outcomes = await shop.offer(shop.event(one), shop.event(other, event_id=event_id))
    assert outcomes[0] == Done()
    assert outcomes[1].refusal.code == "id_reused"  # type: ignore[union-attr]
    assert await shop.code_of(shop.event(bill(), event_id=event_id)) == "id_reused"


async def test_what_is_offered_again_in_a_large_batch_is_told_from_what_is_new(shop: Shop) -> None:
    many = [bill() for _ in range(3 * FEW)]
    known, new, later = many[:20], many[20:40], many[40:]
    assert await shop.offer(*[shop.event(one) for one in known]) == [Done()] * 20
    repeat, twice, used = shop.event(known[0]), shop.event(new[0]), known[1]["bill_ref"]
    conflict = shop.event({**known[2], "cashier": "c118"}, event_id="conflict-in-a-large-batch")
    reused = shop.event(bill(), event_id=used)
    before = await shop.count("bills")
    offered = [repeat, *[shop.event(one) for one in new], twice, conflict, reused]
    outcomes = await shop.offer(*offered)
    assert outcomes[:22] == [Done(replayed=True), *[Done()] * 20, Done(replayed=True)]
    assert [one.refusal.code for one in outcomes[22:]] == ["bill_conflict", "id_reused"]  # type: ignore[union-attr]
    assert await shop.count("bills") == before + 20
    # However they were told apart, they stay so.
    assert await shop.offer(*[shop.event(one) for one in later]) == [Done()] * 8
    assert await shop.offer(*[shop.event(one) for one in many]) == [Done(replayed=True)] * 48
    assert await shop.count("bills") == before + 28


async def test_two_processes_that_are_offered_the_same_bills_take_each_once(
    settings: Settings, shop: Shop
) -> None:
    bills = [(uuid7(), read_bill(msgspec.json.encode(bill()), b"k")) for _ in range(20)]
    offers = [("/pos/race", one.bill_ref, one.content_hash) for _, one in bills]
    first, second = [await connect_as(settings, shop.runtime.tenant, "earn") for _ in range(2)]
    taking = first.transaction()
    await taking.start()
    assert await nets.claim_all(first, offers[10:], bills[10:])
    others = [(uuid7(), one) for _, one in reversed(bills)]
    async with second.transaction():
        waiting = asyncio.create_task(nets.claim_all(second, offers[::-1], others))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await taking.commit()
        assert not await waiting
        fresh = await nets.claim_pos_events(second, offers)
        taken = await nets.claim_bill_keys(second, bills)
    assert fresh == {(source, event_id) for source, event_id, _ in offers[:10]}
    assert taken == {bill_id for bill_id, _ in bills[:10]}
    await asyncio.gather(first.close(), second.close())


async def test_a_repeat_is_answered_however_old_its_bill_is(shop: Shop) -> None:
    body = bill(occurred_at="2026-10-24T12:00:00Z")
    posted = await shop.post(body)
    shop.at(datetime(2027, 3, 1, tzinfo=UTC))
    again = await shop.post(body)
    assert (again.status_code, again.json()) == (200, posted.json())
    assert_problem(await shop.post(bill(occurred_at="2026-10-24T12:00:00Z")), 422, "occurred_too_early")


async def test_a_member_of_two_programmes_earns_in_both_or_in_those_named(shop: Shop) -> None:
    await shop.hear(activated("second"))
    member = await shop.member("shops", "second")
    both = (await shop.post(bill(member))).json()
    assert [one["programme"] for one in both["accruals"]] == ["second", "shops"]
    assert [one["available"]["points"] for one in both["accruals"]] == [90, 90]
    named = (await shop.post(bill(member, programmes=["second"]))).json()
    assert [one["programme"] for one in named["accruals"]] == ["second"]


async def test_a_bill_without_a_member_earns_nothing(shop: Shop) -> None:
    told = (await shop.post(bill())).json()
    assert (told["status"], told["accruals"]) == ("anonymous", [])
    assert [one["type"] for one in await shop.told(told["bill_id"])] == ["bill.recorded.v1"]


async def test_a_bill_worth_nothing_is_recorded_and_announces_no_points(shop: Shop) -> None:
    member = await shop.member()
    told = (await shop.post(bill(member, lines=[], total_minor=0))).json()
    assert told["status"] == "nothing"
    assert told["accruals"][0]["available"] == NO_POINTS
    assert len(await shop.told(told["bill_id"])) == 1
    listed = (await shop.get("/v1/bills", wallet_id=str(member.wallet_id))).json()
    assert [one["bill_id"] for one in listed["items"]] == [told["bill_id"]]


async def test_bills_of_a_wallet_are_narrowed_by_the_merchant_that_is_asked_for(shop: Shop) -> None:
    member = await shop.member()
    for merchant in ("bakery", "butcher"):
        await shop.hear(MerchantChanged(merchant=merchant, version=1, terminals=("T03",)))
    bought = {
        merchant: (await shop.post(bill(member, merchant=merchant, terminal="T03"))).json()["bill_id"]
        for merchant in ("bakery", "butcher")
    }
    asked = {"wallet_id": str(member.wallet_id)}
    both = (await shop.get("/v1/bills", **asked)).json()["items"]
    assert [one["bill_id"] for one in both] == [bought["butcher"], bought["bakery"]]
    one = (await shop.get("/v1/bills", **asked, merchant="bakery")).json()["items"]
    assert [one["bill_id"] for one in one] == [bought["bakery"]]
    found = assert_problem(await shop.get("/v1/bills", **asked, bill_ref="B-1"), 422, "field_unknown")
    assert found["errors"][0]["pointer"] == "/bill_ref"
    narrowed = shop.headers("support", merchant="bakery")
    other = await shop.client.get("/v1/bills", params=asked | {"merchant": "butcher"}, headers=narrowed)
    assert_problem(other, 403, "scope_missing")


async def test_a_bill_without_lines_earns_on_its_total(shop: Shop) -> None:
    member = await shop.member()
    told = (await shop.post(bill(member, lines=[], total_minor=4200))).json()
    assert told["accruals"][0]["available"]["points"] == 42


async def test_a_late_bill_earns_at_the_tier_of_its_time(shop: Shop) -> None:
    member = await shop.member()
    await shop.standing(member, "silver", 1, datetime(2026, 11, 1, tzinfo=UTC))
    await shop.standing(member, "gold", 2, datetime(2026, 11, 20, tzinfo=UTC))
    at = datetime(2026, 10, 31, tzinfo=UTC)
    earned = []
    for days in (0, 10, 21):
        occurred_at = (at + timedelta(days=days)).isoformat()
        told = (await shop.post(bill(member, occurred_at=occurred_at))).json()
        earned.append((told["accruals"][0]["tier"], told["accruals"][0]["available"]["points"]))
    assert earned == [("blue", 90), ("silver", 99), ("gold", 108)]


async def test_an_older_word_of_tiers_does_not_undo_a_newer_one(shop: Shop) -> None:
    member = await shop.member()
    await shop.standing(member, "gold", 2)
    await shop.standing(member, "silver", 1)
    told = (await shop.post(bill(member))).json()
    assert told["accruals"][0]["tier"] == "gold"


async def test_the_version_active_when_the_bill_happened_judges_it(shop: Shop) -> None:
    double = {
        "rules": [
            {"code": "double", "match": {}, "action": "earn", "rate": {"points": "2", "per_minor": 100}}
        ]
    }
    first = activated("doubling")
    second = msgspec.structs.replace(
        activated("doubling", 2, earning=double), activated_at=datetime(2026, 11, 20, tzinfo=UTC)
    )
    await shop.hear(first, second)
    member = await shop.member("doubling")
    before = (await shop.post(bill(member, occurred_at="2026-11-19T12:00:00Z"))).json()["accruals"][0]
    after = (await shop.post(bill(member))).json()["accruals"][0]
    assert (before["programme_version"], before["available"]["points"]) == (1, 90)
    assert (after["programme_version"], after["available"]["points"]) == (2, 210)


async def test_the_oracle_notices_a_version_that_judged_what_had_happened_before_it_began(
    shop: Shop, settings: Settings
) -> None:
    second = msgspec.structs.replace(activated("twice", 2), activated_at=datetime(2026, 11, 20, tzinfo=UTC))
    await shop.hear(activated("twice"), second)
    member = await shop.member("twice")
    await shop.post(bill(member, occurred_at="2026-11-19T12:00:00Z"))
    spoil = """
        UPDATE earn.decisions SET decision = jsonb_set(decision::jsonb, '{programmes,0,version}', '2')::json
        WHERE decision->'programmes'->0->>'programme' = 'twice'
    """
    async with one_moment(settings, shop) as db:
        assert await objections(settings, shop, db, {"bills:decisions"}) == {}
        [said] = (await noticed(settings, shop, db, spoil, {"bills:decisions"}))["bills:decisions"]
        assert said.endswith("judged by version 2, which began at 2026-11-20 00:00:00+00:00, later")


async def test_bills_are_found_by_id_by_reference_and_by_wallet_in_pages(shop: Shop) -> None:
    member = await shop.member()
    posted = [(await shop.post(bill(member))).json() for _ in range(3)]
    assert (await shop.get(f"/v1/bills/{posted[0]['bill_id']}")).json() == posted[0]
    found = await shop.get("/v1/bills", merchant="riyadh-mall", bill_ref=posted[1]["bill_ref"])
    assert found.json() == posted[1]
    first = (await shop.get("/v1/bills", wallet_id=str(member.wallet_id), limit=2)).json()
    assert first["items"] == [posted[2], posted[1]]
    second = (
        await shop.get("/v1/bills", wallet_id=str(member.wallet_id), limit=2, cursor=first["next_cursor"])
    ).json()
    assert second == {"items": [posted[0]], "next_cursor": None}
    assert_problem(await shop.get(f"/v1/bills/{UUID(int=0)}"), 404, "not_found")
    assert_problem(await shop.get("/v1/bills", merchant="riyadh-mall"), 422, "field_missing")
    problem = assert_problem(
        await shop.get("/v1/bills", merchant="riyadh-mall", bill_ref="a\0b"), 422, "field_type"
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/bill_ref"]


HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


@pytest.mark.parametrize(
    "off", [HOUR - SECOND, HOUR, -(HOUR + SECOND), timedelta(days=40), -timedelta(days=40)]
)
async def test_a_bill_is_found_however_far_the_clock_was_off_of_who_recorded_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    with monkeypatch.context() as wrong:
        clock_off(wrong, off)
        posted = (await shop.post(bill(await shop.member()))).json()
    by_id, by_ref, why = [
        await shop.get(f"/v1/bills/{posted['bill_id']}"),
        await shop.get("/v1/bills", merchant="riyadh-mall", bill_ref=posted["bill_ref"]),
        await shop.get(f"/v1/bills/{posted['bill_id']}/why"),
    ]
    assert (by_id.json(), by_ref.json()) == (posted, posted)
    assert [one["status"] for one in why.json()["judgements"]] == ["earned"]


async def test_each_bill_leaves_an_audit_row_and_a_canonical_hash(shop: Shop) -> None:
    member = await shop.member()
    body = bill(member)
    bill_id = (await shop.post(body)).json()["bill_id"]
    audit = await shop.auditor.fetchrow("SELECT * FROM earn.audit WHERE object = $1", f"bill/{bill_id}")
    assert audit is not None
    assert (audit["actor"], audit["action"], audit["place"]) == (
        "test-till",
        "bill.record",
        "203.0.113.7/T03",
    )
    kept = await shop.auditor.fetchval(
        "SELECT content_hash FROM earn.bill_keys WHERE bill_id = $1", UUID(bill_id)
    )
    assert kept == read_bill(msgspec.json.encode(body), shop.runtime.tenant.identity_key).content_hash


async def test_a_token_for_one_merchant_records_only_its_bills(shop: Shop) -> None:
    assert_problem(await shop.post(bill(), merchant="elsewhere"), 403, "scope_missing")
    assert (await shop.post(bill(), merchant="riyadh-mall")).status_code == 201
