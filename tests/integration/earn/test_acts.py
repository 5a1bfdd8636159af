"""Acts besides bills: recorded once by whatever way they come, judged once, exact in caps and budgets, explained."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from shared.config import Settings
from shared.db import Connection
from shared.events import MemberBirthday
from shared.messaging import Done, Refused
from tests.integration.earn.conftest import Member, Shop, bill, somebody
from tests.integration.earn.oracle import noticed, objections, one_moment
from tests.support.books import open_books
from tests.support.facts import activated, autumn_2026
from tests.support.programmes import SHOPS, Document

pytestmark = pytest.mark.asyncio(loop_scope="module")

WALK = {
    "type": "object",
    "properties": {"steps": {"type": "integer", "minimum": 0}, "app": {"type": "string", "maxLength": 20}},
    "required": ["steps"],
    "additionalProperties": False,
}
ACTS: list[Document] = [
    {"code": "welcome", "on": "sign_up", "points": 50},
    {"code": "cake", "on": "birthday", "points": 30},
    {"code": "survey", "points": 20, "member_caps": {"month": 50}},
    {"code": "walk", "rate": {"points": "1", "per": 1000, "of": "steps"}, "maximum": 12, "data": WALK},
    {"code": "late-show", "points": 5, "when": {"time.time": {"gte": "20:00"}}},
    {"code": "hunt", "points": 10, "budget": {"points": 25}},
]


EARNING = {**SHOPS["earning"], "acts": ACTS}


def act(of: Member, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "act": kind,
        "act_ref": secrets.token_hex(6),
        "occurred_at": "2026-11-22T11:31:04+03:00",
        "member": {"mobile": of.mobile},
        **more,
    }


async def post(shop: Shop, body: Any, *, role: str = "till", **token: Any) -> httpx.Response:
    return await shop.client.post("/v1/acts", json=body, headers=shop.headers(role, **token))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clubbed(running_shop: Shop) -> Shop:
    await running_shop.hear(activated("club", earning=EARNING))
    return running_shop


@pytest.fixture(autouse=True)
def noon(running_shop: Shop) -> None:
    running_shop.at(autumn_2026())


def points(answered: httpx.Response) -> int:
    [accrual] = answered.json()["accruals"]
    return int(accrual["available"]["points"])


async def settled(shop: Shop, act_id: str, status: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(400):
        found = (await shop.get(f"/v1/acts/{act_id}")).json()
        if found["status"] == status:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"still {found['status']}")


async def test_signing_up_earns_once_however_often_it_is_told(clubbed: Shop) -> None:
    member = somebody()
    told = clubbed.enrolment(member, "club", "shops")
    await clubbed.hear(told, told)
    await clubbed.hear(told)
    rows = await clubbed.auditor.fetch(
        "SELECT a.act, c.points FROM earn.acts AS a JOIN earn.act_accruals AS c USING (act_id) WHERE c.wallet_id = $1",
        member.wallet_id,
    )
    assert [tuple(row) for row in rows] == [("sign_up", 50)]


async def test_a_sign_up_in_a_programme_that_is_not_known_yet_earns_when_it_is(clubbed: Shop) -> None:
    member = somebody()
    await clubbed.hear(clubbed.enrolment(member, "guild"))
    [(act_id,)] = await clubbed.auditor.fetch(
        "SELECT act_id::text FROM earn.acts WHERE act_ref = $1", f"{member.member_id}/guild"
    )
    await clubbed.hear(activated("guild", earning=EARNING))
    told = await settled(clubbed, act_id, "earned")
    assert told["accruals"][0]["available"] == {
        "points": 50,
        "money": {"amount_minor": 500, "currency": "SAR"},
    }
    types = [event["type"] for event in await clubbed.told(act_id)]
    assert types == ["act.recorded.v1", "points.accrued.v1", "act.settled.v1"]


async def test_a_birthday_earns_once_a_year(clubbed: Shop) -> None:
    member = somebody()

    def told(year: int) -> MemberBirthday:
        at = datetime(year, 11, 20, 21, tzinfo=UTC)
        return MemberBirthday(
            member_id=member.member_id,
            wallet_id=member.wallet_id,
            programme="club",
            year=year,
            occurred_at=at,
        )

    await clubbed.hear(told(2026))  # heard before the enrolment: it waits
    await clubbed.hear(clubbed.enrolment(member, "club"))
    [(act_id,)] = await clubbed.auditor.fetch(
        "SELECT act_id::text FROM earn.acts WHERE act_ref LIKE $1", f"{member.member_id}/club/%"
    )
    await settled(clubbed, act_id, "earned")
    await clubbed.hear(told(2026), told(2026), told(2025))
    earned = await clubbed.auditor.fetch(
        """SELECT a.act, a.act_ref, c.points FROM earn.act_accruals AS c JOIN earn.acts AS a USING (act_id)
        WHERE c.wallet_id = $1 AND a.act = 'birthday' ORDER BY a.act_ref""",
        member.wallet_id,
    )
    expected = [(f"{member.member_id}/club/{year}", 30) for year in (2025, 2026)]
    assert [tuple(row)[1:] for row in earned] == expected


async def test_an_act_is_recorded_once_by_http_and_by_stream(clubbed: Shop) -> None:
    member = await clubbed.member("club")
    body = act(member, "survey", merchant="riyadh-mall")
    first = await post(clubbed, body)
    again = await post(clubbed, body)
    assert (first.status_code, again.status_code, first.json()) == (201, 200, again.json())
    entry = clubbed.event(body, event_id=secrets.token_hex(6), type="act.completed.v1")
    [outcome] = await clubbed.offer(entry)
    assert outcome == Done(replayed=True)
    replies = [one for one in await clubbed.replies() if one["type"] == "act.recorded.v1"]
    assert replies[-1]["data"]["act_id"] == first.json()["act_id"]
    other = await post(clubbed, {**body, "act": "hunt"})
    assert (other.status_code, other.json()["code"]) == (409, "act_conflict")
    [refused] = await clubbed.offer(
        clubbed.event({**body, "act": "hunt"}, event_id=secrets.token_hex(6), type="act.completed.v1")
    )
    assert isinstance(refused, Refused)
    [rejected] = await clubbed.told(f"act/{body['act_ref']}")
    assert (rejected["type"], rejected["data"]["code"]) == ("act.rejected.v1", "act_conflict")


async def test_a_rate_counts_the_data_up_to_the_maximum_of_an_act(clubbed: Shop) -> None:
    member = await clubbed.member("club")
    given = [points(await post(clubbed, act(member, "walk", data={"steps": n}))) for n in (999, 5999, 10**18)]
    assert given == [0, 5, 12]
    body = act(member, "walk", data={"steps": 5999.0})  # as clients write that know one kind of number
    first, again = [await post(clubbed, {**body, "data": {"steps": steps}}) for steps in (5999.0, 5999)]
    assert (first.status_code, points(first), again.status_code) == (201, 5, 200)
    assert again.json() == first.json()


async def test_an_act_of_before_that_wrote_a_whole_number_as_a_fraction_is_answered_as_the_first_time(
    settings: Settings, clubbed: Shop
) -> None:
    numbers = {"steps": {"type": "integer"}, "floors": {"type": "integer"}}
    walk = {**ACTS[3], "data": {**WALK, "properties": numbers}}
    await clubbed.hear(activated("walkers", earning={**SHOPS["earning"], "acts": [walk]}))
    member = await clubbed.member("walkers")
    body = act(
        member, "walk", merchant="riyadh-mall", programme="walkers", data={"steps": 999, "floors": 2.0}
    )
    first, second = ({"event_id": secrets.token_hex(6), "type": "act.completed.v1"} for _ in range(2))
    assert await clubbed.offer(clubbed.event(body, **first)) == [Done()]
    act_id = await clubbed.auditor.fetchval(
        "SELECT act_id::text FROM earn.acts WHERE act_ref = $1", body["act_ref"]
    )
    await _as_before(settings, clubbed, act_id)

    for entry in (first, second, second):
        assert await clubbed.offer(clubbed.event(body, **entry)) == [Done(replayed=True)]
        assert (await clubbed.replies())[-1]["data"]["act_id"] == act_id
    again = await post(clubbed, body)
    assert (again.status_code, again.json()["act_id"]) == (200, act_id)
    kept = await clubbed.auditor.fetch(
        "SELECT DISTINCT content_hash FROM earn.pos_events WHERE event_id = ANY($1)",
        [first["event_id"], second["event_id"]],
    )
    assert len(kept) == 1
    other = {**body, "data": {"steps": 999, "floors": 3.0}}
    assert await clubbed.code_of(clubbed.event(other, **first)) == "id_reused"
    assert (await post(clubbed, other)).json()["code"] == "act_conflict"

    await clubbed.hear(activated("walkers", version=2, earning=SHOPS["earning"]))  # knows no acts
    assert await clubbed.offer(clubbed.event(body, **first)) == [Done(replayed=True)]


async def _as_before(settings: Settings, shop: Shop, act_id: str) -> None:
    """The act as it was kept when data was kept as it was sent."""
    db = await open_books(settings, shop.code)
    try:
        [row] = await db.fetch("SELECT * FROM earn.acts WHERE act_id = $1::text::uuid", act_id)
        head = [row[name] for name in ("source", "act_ref", "act", "occurred_at", "identity_kind")]
        head += [row["identity"].hex(), row["merchant"], row["programme"]]
        data = b'{"floors":2.0,"steps":999}'
        content = sha256(msgspec.json.encode(head) + b"\n" + data).digest()
        for sql, *values in (
            ("UPDATE earn.act_keys SET content_hash = $2 WHERE act_id = $1::text::uuid", act_id, content),
            ("UPDATE earn.pos_events SET content_hash = $2 WHERE event_id = $1", row["event_id"], content),
            ("UPDATE earn.acts SET data = $2 WHERE act_id = $1::text::uuid", act_id, data.decode()),
        ):
            assert await db.execute(sql, *values) == "UPDATE 1"
    finally:
        await db.close()


async def test_data_that_the_schema_does_not_allow_is_refused_with_pointers(clubbed: Shop) -> None:
    member = await clubbed.member("club")
    answered = await post(clubbed, act(member, "walk", data={"steps": -1, "app": "x" * 21}))
    assert (answered.status_code, answered.json()["code"]) == (422, "act_data_invalid")
    assert [one["pointer"] for one in answered.json()["errors"]] == ["/data/app", "/data/steps"]
    assert "x" * 21 not in answered.text
    huge = await post(clubbed, act(member, "walk", data={"steps": 10**30}))
    assert (huge.status_code, huge.json()["code"]) == (422, "amount_out_of_range")
    card = await post(clubbed, act(member, "walk", data={"steps": 4111111111111111}))
    assert (card.status_code, card.json()["code"]) == (422, "payment_card_number")
    none = await post(clubbed, act(member, "survey", data={"steps": 1}))
    assert none.json()["code"] == "act_data_invalid"
    unknown = await post(clubbed, act(member, "welcome"))
    assert (unknown.status_code, unknown.json()["code"]) == (422, "act_unknown")
    early = await post(clubbed, act(member, "survey", occurred_at="2026-09-01T00:00:00Z"))
    assert early.json()["code"] == "occurred_too_early"


async def test_caps_and_budgets_of_an_act_type_are_exact_among_many_at_once(clubbed: Shop) -> None:
    member = await clubbed.member("club")
    surveys = await asyncio.gather(*[post(clubbed, act(member, "survey")) for _ in range(8)])
    assert sorted(points(one) for one in surveys) == [0, 0, 0, 0, 0, 10, 20, 20]
    others = [await clubbed.member("club") for _ in range(6)]
    hunts = await asyncio.gather(*[post(clubbed, act(one, "hunt")) for one in others])
    assert sorted(points(one) for one in hunts) == [0, 0, 0, 5, 10, 10]
    decided = await clubbed.auditor.fetchval("SELECT decided FROM earn.budgets WHERE campaign = 'act:hunt'")
    assert decided == 25


async def test_the_programmes_caps_count_acts_and_bills_together_whoever_comes_at_once(clubbed: Shop) -> None:
    if await clubbed.auditor.fetchval("SELECT count(*) FROM earn.programmes WHERE programme = 'capped'") == 0:
        kinds = [{"code": "visit", "points": 20}, {"code": "tour", "points": 20, "member_caps": {"day": 30}}]
        section = {**SHOPS["earning"], "acts": kinds, "member_caps": {"day": 150}}
        await clubbed.hear(activated("capped", earning=section))
    member = await clubbed.member("capped")
    told = [post(clubbed, act(member, kind)) for kind in ("visit", "tour") * 3]
    await asyncio.gather(clubbed.post(bill(member)), *told)
    caps = "SELECT campaign, decided FROM earn.caps WHERE wallet_id = $1 ORDER BY campaign"
    counted = {row[0]: row[1] for row in await clubbed.auditor.fetch(caps, member.wallet_id)}
    assert counted[""] == 150
    assert counted["act:tour"] <= 30
    full = await post(clubbed, act(member, "visit"))
    assert points(full) == 0
    why = (await clubbed.get(f"/v1/acts/{full.json()['act_id']}/why")).json()["judgements"][0]["words"]
    assert why[-2:] == [
        "Of the 150 points that the programme gives a member a day, 150 had been given since 2026-11-22.",
        "It gives 0 points.",
    ]


async def test_why_says_what_an_act_was_judged_by(clubbed: Shop) -> None:
    member = await clubbed.member("club")
    noon = (await post(clubbed, act(member, "late-show"))).json()
    assert noon["status"] == "nothing"
    [one] = (await clubbed.get(f"/v1/acts/{noon['act_id']}/why")).json()["judgements"]
    assert one["words"] == [
        "In club, version 1, at tier blue: act type late-show.",
        'Its condition does not hold (time.time gte "20:00": no).',
    ]
    survey = (await post(clubbed, act(member, "survey"))).json()
    [one] = (await clubbed.get(f"/v1/acts/{survey['act_id']}/why")).json()["judgements"]
    assert one["words"][1:] == [
        "It is worth 20 points.",
        "Of the member's 50 points a month, 0 had been given since 2026-11-01.",
        "It gives 20 points.",
    ]


async def test_an_act_of_an_unknown_member_waits_is_reported_and_settles(clubbed: Shop) -> None:
    await clubbed.runtime.redis.hset(clubbed.runtime.keys.head("members"), mapping={"n": 0})
    member = somebody()
    body = act(member, "survey", merchant="riyadh-mall")
    answered = await post(clubbed, body)
    assert (answered.status_code, answered.json()["status"]) == (202, "waiting")
    act_id = answered.json()["act_id"]
    offered = [
        clubbed.event(body, source=f"/pos/app/{n}", event_id=body["act_ref"], type="act.completed.v1")
        for n in range(3)
    ]
    await clubbed.offer(*offered[:2])
    assert answered.headers["location"] == f"/v1/acts/{act_id}"
    await settled(clubbed, act_id, "unclaimed")
    clubbed.at(datetime(2027, 3, 1, tzinfo=UTC))  # how long it waited does not count against it
    await clubbed.hear(clubbed.enrolment(member, "club"))
    assert (await settled(clubbed, act_id, "earned"))["accruals"][0]["available"]["points"] == 20
    told = [(event["type"], int(event["sequence"])) for event in await clubbed.told(act_id)]
    assert told == [
        ("act.recorded.v1", 1),
        ("act.settled.v1", 2),
        ("points.accrued.v1", 3),
        ("act.settled.v1", 4),
    ]
    # Who told of it while it waited stands in what is told; who asks again is answered with that.
    last = (await clubbed.told(act_id))[-1]
    others = [one["source"] for one in last["data"].pop("also_offered_by")]
    assert (last["data"]["source"], others) == ("/pos/app/0", ["/pos/app/1"])
    clubbed.at(autumn_2026())
    await clubbed.offer(offered[1], offered[2])
    for n in (1, 2):
        again = (await clubbed.replies(f"app.{n}"))[-1]
        assert {name: again[name] for name in ("id", "type", "sequence")} == {
            name: last[name] for name in ("id", "type", "sequence")
        }
        assert (again["data"]["status"], again["data"]["source"]) == ("earned", f"/pos/app/{n}")


async def test_a_token_of_one_merchant_tells_and_sees_its_own_acts_alone(clubbed: Shop) -> None:
    member = await clubbed.member("club")
    without = await post(clubbed, act(member, "survey"), merchant="riyadh-mall")
    assert (without.status_code, without.json()["code"]) == (403, "scope_missing")
    mine = await post(clubbed, act(member, "survey", merchant="riyadh-mall"), merchant="riyadh-mall")
    other = clubbed.headers("support", merchant="jeddah")
    seen = await clubbed.client.get(f"/v1/acts/{mine.json()['act_id']}", headers=other)
    assert (mine.status_code, seen.status_code) == (201, 404)


async def test_a_bill_that_has_the_words_of_an_act_in_it_is_a_bill(clubbed: Shop) -> None:
    body = bill(await clubbed.member("shops"))
    body["lines"][0]["sku"] = "act.completed.v1"
    [outcome] = await clubbed.offer(clubbed.event(body))
    assert isinstance(outcome, Done)
    assert await clubbed.bill_id(body["bill_ref"])
    [broken] = await clubbed.offer(clubbed.event({"act_ref": "r-1"}, event_id="e-1", type="act.completed.v1"))
    assert isinstance(broken, Refused)
    [rejected] = await clubbed.told("act/r-1")
    assert (rejected["type"], rejected["data"]["code"]) == ("act.rejected.v1", "field_missing")


@pytest.mark.parametrize("seed", range(6))
async def test_acts_earn_once_in_whatever_order_and_however_often_they_come(clubbed: Shop, seed: int) -> None:
    """Sign-up, a survey by two ways and its member's enrolment, each one to three times, shuffled, some at once."""
    chance = random.Random(seed)
    member = somebody()
    body = act(member, "survey", merchant="riyadh-mall")
    entry = clubbed.event(body, event_id=secrets.token_hex(6), type="act.completed.v1")
    ways: list[Callable[[], Awaitable[object]]] = [
        lambda: clubbed.hear(clubbed.enrolment(member, "club")),
        lambda: clubbed.offer(entry),
        lambda: post(clubbed, body),
    ]
    deliveries = [way for way in ways for _ in range(chance.randint(1, 3))]
    chance.shuffle(deliveries)
    while deliveries:
        at_once, deliveries = deliveries[: (k := chance.randint(1, 3))], deliveries[k:]
        await asyncio.gather(*[deliver() for deliver in at_once])
    [(survey,)] = await clubbed.auditor.fetch(
        "SELECT act_id::text FROM earn.act_keys WHERE act_ref = $1", body["act_ref"]
    )
    await settled(clubbed, survey, "earned")
    earned = await clubbed.auditor.fetch(
        """SELECT a.act, c.points FROM earn.act_accruals AS c JOIN earn.acts AS a USING (act_id)
        WHERE c.wallet_id = $1 ORDER BY a.act""",
        member.wallet_id,
    )
    assert [tuple(row) for row in earned] == [("sign_up", 50), ("survey", 20)]


# ---- what the oracle says of it, when it is whole and when it is spoilt ------------------------

CHECKS = {
    "acts:keys",
    "acts:decisions",
    "acts:chain",
    "acts:told",
    "acts:kept",
    "accruals:told",
    "budgets:counted",
    "caps:counted",
    "rejections:told",
}
SOME = '(SELECT act_id FROM earn.act_decisions WHERE decision::text LIKE \'%"act":"survey"%"points":20%\' LIMIT 1)'
SPOILT = {
    "an act of other content": (
        f"UPDATE earn.acts SET merchant = 'elsewhere' WHERE act_id = {SOME}",
        {"acts:keys", "acts:told"},
    ),
    "a decision that gave more": (
        f"""UPDATE earn.act_decisions SET decision = replace(decision::text, '"points":20', '"points":21')::json
        WHERE act_id = {SOME}""",
        {"acts:decisions", "acts:told", "acts:kept", "accruals:told", "caps:counted"},
    ),
    "an act that is gone": (
        f"DELETE FROM earn.acts WHERE act_id = {SOME}",
        {"acts:keys", "acts:told", "accruals:told"},
    ),
    "an act that waits no more and was never judged": (
        "DELETE FROM earn.act_waiting",
        {"acts:chain"},
    ),
    "an accrual that nobody decided": (
        f"INSERT INTO earn.act_accruals VALUES ({SOME}, gen_random_uuid(), gen_random_uuid(), 5)",
        {"acts:kept"},
    ),
    "a teller that was not told": (
        "UPDATE earn.settled_events SET told = 1 WHERE told = 2",
        {"acts:told"},
    ),
    "an act that the programme's cap did not count": (
        "UPDATE earn.caps SET decided = decided - 1 WHERE campaign = '' AND decided = 150",
        {"caps:counted"},
    ),
    "a budget that lost count": (
        "UPDATE earn.budgets SET decided = decided - 1 WHERE campaign = 'act:hunt'",
        {"budgets:counted"},
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(settings: Settings, clubbed: Shop) -> AsyncIterator[Connection]:
    """One moment of the books, in which everything can be changed and nothing stays."""
    waits = await post(clubbed, act(somebody(), "survey"))
    await clubbed.runtime.redis.hset(clubbed.runtime.keys.head("members"), mapping={"n": 0})
    await settled(clubbed, waits.json()["act_id"], "unclaimed")  # so that no job changes it any more
    async with one_moment(settings, clubbed) as db:
        yield db


async def test_the_oracle_works_out_the_same(settings: Settings, clubbed: Shop, books: Connection) -> None:
    assert await objections(settings, clubbed, books, CHECKS) == {}


@pytest.mark.parametrize(("sql", "checks"), SPOILT.values(), ids=SPOILT)
async def test_the_oracle_notices(
    settings: Settings, clubbed: Shop, books: Connection, sql: str, checks: set[str]
) -> None:
    broken = await noticed(settings, clubbed, books, sql, CHECKS)
    assert checks <= broken.keys(), broken
