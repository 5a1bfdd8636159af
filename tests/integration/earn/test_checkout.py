"""What is given at the checkout is within its budget whoever gives at once; stamps are counted once, come back with refunds; and
the oracle judges it all again, and sees what was spoilt."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from pointbank.verify import Report, verify_tenant
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.streams import heads
from pointbank.verify.walks import check_all
from services.earn.domain.decision import decode_decision
from services.earn.jobs.benefiting import keep_benefits_going
from shared.config import Settings
from shared.events import (
    BenefitAnswered,
    EnrolledWallet,
    MemberMerged,
    MemberSegmented,
    MerchantChanged,
    MergedWallet,
)
from shared.events.envelope import encode_event
from shared.ids import uuid7
from shared.tenants import Tenant
from tests.integration.earn.conftest import Member, Shop, bill, running_earn
from tests.integration.earn.test_campaigns import campaign
from tests.integration.earn.test_refunds import Bank, post, refund
from tests.support.books import open_books
from tests.support.facts import AT, activated, autumn_2026, heard
from tests.support.programmes import earning, rule
from tests.support.skew import clock_off

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAMPAIGNS = [
    campaign("vip", effect={"bonus": 7}, when={"member.segments": {"any_of": ["vip"]}}),
    campaign(
        "tenth",
        effect={"discount": {"percent": "10", "percent_by_tier": {"gold": "20"}, "most_minor": 1500}},
        when={"bill.total_minor": {"gte": 10000}},
        budget={"money_minor": 2500},
    ),
    campaign("cookie", effect={"free_item": {"sku": "COOKIE", "value_minor": 800}}, member_caps={"day": 1}),
    campaign(
        "hello",
        effect={"issue": {"reward": "voucher", "value_minor": 1000}},
        when={"member.bills": {"eq": 0}, "bill.channel": {"eq": "app"}},
        budget={"money_minor": 2000},
    ),
]
CARD = {"code": "coffees", "match": {"categories": ["coffee"]}, "stamps": 5, "reward": "free-coffee"}
CHECKS = (
    "bills:keys", "bills:decisions", "budgets:counted", "caps:counted", "stamps:given", "stamps:taken", "stamps:cards",
    "gifts:decided", "gifts:asked", "refunds:computed",
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cafe(
    settings: Settings, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    async for made in running_earn(settings, tenant, tmp_path_factory.mktemp("keys")):
        made.at(autumn_2026())
        section = {**earning(rule()), "campaigns": CAMPAIGNS, "stamp_cards": [CARD]}
        await made.hear(
            activated("shops", earning=section),
            MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T03",)),
        )
        yield made


def coffees(of: Member, count: int, **more: Any) -> dict[str, Any]:
    """A bill of so many coffees at 10.00, and nothing else."""
    line = {"line_id": "1", "categories": ["coffee"], "quantity": str(count), "amount_minor": 1000 * count}
    return bill(of, lines=[line], total_minor=1000 * count, **more)


def basket(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "bill_ref"}


def applied(**amounts: int) -> list[dict[str, Any]]:
    return [
        {"programme": "shops", "campaign": code, "amount_minor": amount} for code, amount in amounts.items()
    ]


async def quote(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    asked = await shop.client.post("/v1/quotes", json=basket(body), headers=shop.headers("till"))
    assert asked.status_code == 200, asked.text
    found: dict[str, Any] = asked.json()["accruals"][0]
    return found


async def decision(shop: Shop, bill_ref: str) -> Any:
    row = await shop.auditor.fetchval(
        "SELECT decision FROM earn.decisions WHERE bill_id = $1 ORDER BY n DESC LIMIT 1",
        UUID(await shop.bill_id(bill_ref)),
    )
    return decode_decision(row)


async def segmented(shop: Shop, member: Member, sequence: int, *stay: datetime | None) -> None:
    told = MemberSegmented(member_id=member.member_id, segment="vip", from_at=stay[0], until_at=stay[1])  # type: ignore[arg-type]
    payload = encode_event(
        told, event_id=uuid7(), subject=str(member.member_id), time=AT, tenant=shop.code, request_id="r",
        sequence=sequence,
    )  # fmt: skip
    await shop.runtime.lane.submit(heard(told, payload=payload))


async def answer(shop: Shop, effect_id: Any, outcome: Any, **more: Any) -> None:
    told = BenefitAnswered(
        effect_id=UUID(str(effect_id)),
        outcome=outcome,
        benefit_id=more.get("benefit_id"),
        code=more.get("code"),
    )
    await shop.hear(told, told)  # a second time it changes nothing


async def cards(shop: Shop, member: Member) -> tuple[int, list[str]]:
    """(stamps on the card, where its rewards stand, the latest first)."""
    found = (await shop.get(f"/v1/members/{member.member_id}/stamp-cards")).json()
    by_wallet = (await shop.get(f"/v1/wallets/{member.wallet_id}/stamp-cards")).json()
    assert by_wallet == found
    [card] = found["cards"]
    assert (card["card"], card["needed"], card["reward"]) == ("coffees", 5, "free-coffee")
    return card["progress"], [one["status"] for one in found["rewards"]]


async def effects(shop: Shop, member: Member) -> list[Any]:
    return list(
        await shop.auditor.fetch(
            "SELECT effect_id, withdrawal_id, status FROM earn.effects WHERE wallet_id = $1 ORDER BY effect_id",
            member.wallet_id,
        )
    )


async def holds(shop: Shop, settings: Settings, *compared: str) -> None:
    """No check is broken, and these compared something."""
    report = await verify_tenant(settings, shop.code)
    for check in CHECKS:
        assert not report[check].broken, (check, report[check].examples)
        assert report[check].verdict == "holds" or check not in compared, check


async def test_a_quote_that_is_asked_again_offers_no_more_for_what_was_taken_off_other_lines(
    cafe: Shop, settings: Settings
) -> None:
    half = campaign("half", effect={"discount": {"percent": "50"}}, match={"categories": ["coffee"]})
    tenth = campaign("tenth", effect={"discount": {"percent": "10"}}, match={"categories": ["tea"]})
    await cafe.hear(activated("halves", earning={**earning(rule()), "campaigns": [half, tenth]}))
    member = await cafe.member("halves")

    def sale(coffee: int, tea: int, **claims: int) -> dict[str, Any]:
        lines = [
            {"line_id": "1", "categories": ["coffee"], "amount_minor": coffee},
            {"line_id": "2", "categories": ["tea"], "amount_minor": tea},
        ]
        said = [{**one, "programme": "halves"} for one in applied(**claims)] or None
        return bill(member, lines=lines, total_minor=coffee + tea, effects_applied=said)

    async def offered(body: dict[str, Any]) -> dict[str, int]:
        return {one["campaign"]: one["amount_minor"] for one in (await quote(cafe, body))["effects"]}

    assert await offered(sale(20_000, 10_000)) == {"half": 10_000, "tenth": 1000}
    assert await offered(sale(10_000, 10_000, half=10_000)) == {"half": 10_000, "tenth": 1000}
    paid = sale(10_000, 8000, half=10_000, tenth=2000)
    assert (await cafe.post(paid)).status_code == 201
    assert (await decision(cafe, paid["bill_ref"])).variances == (("halves", "tenth", 2000, 1000),)
    report = await verify_tenant(settings, cafe.code)
    assert report["bills:decisions"].verdict == "holds", report["bills:decisions"].examples


async def test_a_bill_is_judged_by_the_segments_that_were_known_of_its_time(cafe: Shop) -> None:
    member = await cafe.member()
    day = [datetime(2026, 11, day, tzinfo=UTC) for day in range(1, 31)]

    async def bonus(at: datetime) -> int:
        told = await cafe.post(bill(member, lines=[], total_minor=100, occurred_at=at.isoformat()))
        return int(told.json()["accruals"][0]["available"]["points"]) - 1

    assert await bonus(day[10]) == 0
    await segmented(cafe, member, 4, day[4], day[7])  # a later word first: it stands
    await segmented(cafe, member, 3, day[4], None)
    assert [await bonus(day[k]) for k in (3, 4, 6, 7)] == [0, 7, 7, 0]
    last = "SELECT bill_ref FROM earn.bill_keys ORDER BY bill_id DESC LIMIT 1"
    kept = await decision(cafe, (await cafe.auditor.fetchval(last)))
    assert kept.programmes[0].details.inputs.segments is not None


async def test_a_quote_offers_what_the_bill_then_is_granted(cafe: Shop) -> None:
    member = await cafe.member()
    body = bill(member, channel="app")
    counted = [await cafe.count(table) for table in ("stamps", "effects", "stamp_cards", "budgets", "caps")]
    quoted = await quote(cafe, body)
    assert [(one["campaign"], one["result"], one["amount_minor"]) for one in quoted["effects"]] == [
        ("tenth", "offered", 1050),
        ("cookie", "offered", 800),
        ("hello", "offered", 1000),
    ]
    off = quoted["effects"][0]["amount_minor"]
    assert quoted["redemption_quote"] == "/v1/redemption-quotes"
    assert quoted["stamp_cards"] == [
        {"card": "coffees", "stamps": 2, "progress": 2, "needed": 5, "reward": "free-coffee", "rewards": 0}
    ]
    assert counted == [
        await cafe.count(table) for table in ("stamps", "effects", "stamp_cards", "budgets", "caps")
    ]
    lines = [{**body["lines"][0], "amount_minor": 9000 - off}, body["lines"][1]]
    paid = {
        **body,
        "lines": lines,
        "total_minor": 10500 - off,
        "effects_applied": applied(tenth=off, cookie=700),
    }
    again = await quote(cafe, paid)
    assert again["effects"][0]["amount_minor"] == off  # it looks at the bill before the discount
    assert (await cafe.post(paid)).status_code == 201
    assert (await cafe.post(paid, key="again")).status_code == 200
    made = await decision(cafe, paid["bill_ref"])
    given = {
        one.campaign: (one.result, one.granted_minor, one.effect_id is None)
        for one in made.programmes[0].offers
    }
    assert given == {
        "tenth": ("applied", off, True),
        "cookie": ("applied", 700, True),
        "hello": ("applied", 1000, False),
    }
    assert made.variances == ()
    [asked] = [one for one in await cafe.told() if one["type"] == "benefit.asked.v1"]
    assert (asked["data"]["reward"], asked["data"]["source"]["code"]) == ("voucher", "hello")


async def test_what_a_till_gave_beyond_is_a_variance_and_the_bill_is_taken(
    cafe: Shop, settings: Settings
) -> None:
    member = await cafe.member()
    body = coffees(member, 1, effects_applied=applied(tenth=500, cookie=900, nothing=3))
    answered = await cafe.post(body)
    assert answered.status_code == 201
    made = await decision(cafe, body["bill_ref"])
    assert made.variances == (
        ("shops", "cookie", 900, 800),
        ("shops", "nothing", 3, 0),
        ("shops", "tenth", 500, 0),
    )
    second = coffees(member, 1, effects_applied=applied(cookie=800))
    await cafe.post(second)
    assert (await decision(cafe, second["bill_ref"])).variances == (
        ("shops", "cookie", 800, 0),
    )  # once a day
    nobody = {**coffees(member, 1, effects_applied=applied(cookie=5)), "member": None}
    await cafe.post(nobody)
    assert (await decision(cafe, nobody["bill_ref"])).variances == (("shops", "cookie", 5, 0),)
    why = (await cafe.get(f"/v1/bills/{answered.json()['bill_id']}/why")).json()["judgements"][0]["words"]
    assert "The till gave 9.00 SAR for campaign cookie of shops; 8.00 SAR were granted." in why, why
    for wrong in ([{"programme": "shops", "campaign": "a", "amount_minor": -1}], applied(a=1) * 2):
        assert (await cafe.post(coffees(member, 1, effects_applied=wrong))).status_code == 422
    await holds(cafe, settings)


async def test_a_whole_refund_asks_a_campaigns_reward_back(cafe: Shop, settings: Settings) -> None:
    member, bank = await cafe.member(), Bank(cafe)
    body = coffees(member, 1, channel="app")
    await cafe.post(body)
    for part, status in (({"amount_minor": 999}, "asked"), ({"all": True}, "withdrawing")):
        told = (await post(cafe, refund(body, **part))).json()
        await bank.serve(told["bill_id"])
        assert [one["status"] for one in await effects(cafe, member)] == [status]
    assert await cards(cafe, member) == (0, [])
    await holds(cafe, settings)


async def test_a_refund_takes_back_of_each_programme_what_its_own_window_was_open_for(
    cafe: Shop, settings: Settings
) -> None:
    """The first to come was too late for one of the programmes, the last was so too: of this one a quarter was refunded in time."""
    gift = campaign("gift", effect={"issue": {"reward": "voucher", "value_minor": 1}})
    for programme, days in (("a-day", 1), ("a-season", 90)):
        section = {**earning(rule()), "campaigns": [gift], "stamp_cards": [CARD], "refund_window_days": days}
        await cafe.hear(activated(programme, earning=section))
    objections = (await verify_tenant(settings, cafe.code))["gifts:standing"].broken
    member, bank = await cafe.member("a-day", "a-season"), Bank(cafe)
    body, in_time, late = coffees(member, 4), "2026-11-22T09:00:00Z", "2026-12-01T09:00:00Z"
    await cafe.post(body)
    try:
        cafe.at(datetime.fromisoformat("2026-12-02T09:00:00Z"))
        for what, occurred_at in (
            ({"amount_minor": 2000}, late),
            ({"amount_minor": 1000}, in_time),
            ({"all": True}, late),
        ):
            told = (await post(cafe, refund(body, occurred_at=occurred_at, **what))).json()
            await bank.serve(told["bill_id"])
    finally:
        cafe.at(autumn_2026())
    found = await cafe.auditor.fetch(
        "SELECT e.programme, s.stamps, s.taken_back, e.status FROM earn.effects AS e JOIN earn.stamps AS s"
        " ON s.bill_id = e.bill_id AND s.wallet_id = e.wallet_id WHERE e.bill_id = $1 ORDER BY e.programme",
        UUID(await cafe.bill_id(body["bill_ref"])),
    )
    assert [tuple(row) for row in found] == [("a-day", 4, 1, "asked"), ("a-season", 4, 4, "withdrawing")]
    await holds(cafe, settings, "stamps:taken", "refunds:computed")
    assert (await verify_tenant(settings, cafe.code))["gifts:standing"].broken == objections


async def test_budgets_and_stamps_are_exact_when_many_come_at_once(cafe: Shop, settings: Settings) -> None:
    member, others = await cafe.member(), [await cafe.member() for _ in range(6)]
    many = [coffees(member, 1) for _ in range(12)]
    many += [
        coffees(other, 9, channel="app", effects_applied=applied(tenth=1000), bill_ref=f"MANY-{k}")
        for k, other in enumerate(others)
    ]
    answers = await asyncio.gather(*[cafe.post(body) for body in many])
    assert {one.status_code for one in answers} == {201}
    assert await cards(cafe, member) == (2, ["asked", "asked"])
    budgets = {
        row["campaign"]: row["decided"]
        for row in await cafe.auditor.fetch("SELECT campaign, decided FROM earn.budgets")
    }
    assert budgets == {"tenth/money": 2500, "hello/money": 2000}
    granted = [
        (await decision(cafe, f"MANY-{k}")).programmes[0].offers[0].granted_minor for k in range(len(others))
    ]
    assert sum(granted) <= 2500
    await holds(cafe, settings)


async def test_a_refund_takes_stamps_back_and_the_reward_with_them(cafe: Shop, settings: Settings) -> None:
    member, bank = await cafe.member(), Bank(cafe)
    first, second = coffees(member, 3), coffees(member, 4)
    await cafe.post(first)
    await cafe.post(second)
    assert await cards(cafe, member) == (2, ["asked"])
    [reward] = await effects(cafe, member)
    await answer(cafe, reward["effect_id"], "issued", benefit_id=uuid7())

    async def give_back(body: dict[str, Any], **what: Any) -> None:
        told = (await post(cafe, refund(body, **what))).json()
        await bank.serve(told["bill_id"])

    await give_back(second, amount_minor=1000)
    assert await cards(cafe, member) == (1, ["issued"])
    await give_back(second, all=True)  # 3 more: the reward is asked back, its 5 stamps lie on the card again
    assert await cards(cafe, member) == (3, ["withdrawing"])
    [reward] = await effects(cafe, member)
    await answer(cafe, reward["withdrawal_id"], "used_already")
    assert await cards(cafe, member) == (-2, ["kept"])  # what was drunk was drunk
    await cafe.post(coffees(member, 7))
    assert await cards(cafe, member) == (0, ["asked", "kept"])
    last = (await effects(cafe, member))[-1]
    await answer(cafe, last["effect_id"], "refused", code="reward_sold_out")
    assert await cards(cafe, member) == (5, ["refused", "kept"])
    await cafe.post(coffees(member, 1))  # the next stamp asks again
    assert await cards(cafe, member) == (1, ["asked", "refused", "kept"])
    asked_back = [one for one in await cafe.told() if one["type"] == "benefit.withdrawal_asked.v1"]
    assert [one["data"]["issued_by"] for one in asked_back][-1:] == [str(reward["effect_id"])]
    await holds(cafe, settings, *CHECKS)


async def test_a_refused_reward_gives_budget_and_cap_back_once(cafe: Shop, settings: Settings) -> None:
    reward = campaign(
        "treat",
        effect={"issue": {"reward": "treat", "value_minor": 1000}},
        budget={"money_minor": 2000},
        member_caps={"month": 1},
    )
    await cafe.hear(activated("treats", earning={**earning(rule()), "campaigns": [reward]}))
    first, second, third = [await cafe.member("treats") for _ in range(3)]

    async def sold(member: Member) -> tuple[str, dict[str, Any]]:
        body = bill(member)
        assert (await cafe.post(body)).status_code == 201
        [one] = (await decision(cafe, body["bill_ref"])).programmes[0].offers
        return one.result, body

    async def counted() -> list[tuple[int, int]]:
        """(decided, given back): of the budget, then of the members' caps."""
        budgets = "SELECT decided, given_back FROM earn.budgets WHERE campaign = 'treat/money'"
        caps = "SELECT decided, given_back FROM earn.caps WHERE campaign = 'treat/times' AND decided > 0"
        return [tuple(row) for sql in (budgets, caps) for row in await cafe.auditor.fetch(sql)]

    assert [(await sold(one))[0] for one in (first, second, third)] == ["applied", "applied", "used_up"]
    for one in (first, second):
        [asked] = await effects(cafe, one)
        await answer(cafe, asked["effect_id"], "refused", code="reward_sold_out")
    assert await counted() == [(2000, 2000), (1, 1), (1, 1)]
    assert (await sold(third))[0] == "applied"
    result, body = await sold(first)
    assert (result, (await sold(second))[0]) == ("applied", "used_up")
    # Refunded before the bank's no is heard: the answer gives back all the same, and once.
    await Bank(cafe).serve((await post(cafe, refund(body, all=True))).json()["bill_id"])
    asked = (await effects(cafe, first))[-1]
    assert asked["status"] == "withdrawing"
    await answer(cafe, asked["effect_id"], "refused", code="reward_sold_out")
    await answer(cafe, asked["withdrawal_id"], "nothing")
    await answer(cafe, asked["effect_id"], "refused", code="reward_sold_out")
    assert sorted(await counted()) == [(1, 0), (1, 1), (2, 2), (4000, 3000)]
    assert (await sold(second))[0] == "applied"
    await holds(cafe, settings, "budgets:counted", "caps:counted")


async def test_when_the_bank_is_asked_again_for_a_reward_is_no_matter_of_a_processs_clock(
    cafe: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = await cafe.member()
    await cafe.post(coffees(member, 5))
    [asked] = await effects(cafe, member)
    with monkeypatch.context() as wrong:
        clock_off(wrong, timedelta(hours=1))
        await keep_benefits_going(cafe.runtime)
    times = "SELECT sequence FROM earn.effects WHERE effect_id = $1 AND status = 'asked'"
    assert await cafe.auditor.fetchval(times, asked["effect_id"]) == 1


@pytest.mark.parametrize("hours", [2, -2])
async def test_a_refused_reward_gives_its_budget_back_whatever_the_clock_was_of_who_recorded_its_bill(
    cafe: Shop, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    programme = f"clock{hours + 2}"
    reward = campaign(
        "gift", effect={"issue": {"reward": "gift", "value_minor": 1000}}, budget={"money_minor": 2000}
    )
    await cafe.hear(activated(programme, earning={**earning(rule()), "campaigns": [reward]}))
    member = await cafe.member(programme)
    with monkeypatch.context() as wrong:
        clock_off(wrong, timedelta(hours=hours))
        assert (await cafe.post(bill(member))).status_code == 201
    [asked] = await effects(cafe, member)
    await answer(cafe, asked["effect_id"], "refused", code="reward_sold_out")
    counted = "SELECT decided, given_back FROM earn.budgets WHERE campaign = 'gift/money' AND programme = $1"
    assert tuple(await cafe.auditor.fetchrow(counted, programme) or ()) == (1000, 1000)


async def test_the_stamps_of_who_was_merged_lie_on_the_heirs_card(cafe: Shop, settings: Settings) -> None:
    ended, heir, bank = await cafe.member(), await cafe.member(), Bank(cafe)
    theirs = coffees(ended, 3)
    for body in (theirs, coffees(heir, 1)):
        await cafe.post(body)
    wallets = (MergedWallet(programme="shops", wallet_id=ended.wallet_id, merged_into=heir.wallet_id),)
    survivor = (EnrolledWallet(programme="shops", wallet_id=heir.wallet_id),)
    await cafe.hear(
        MemberMerged(
            merge_id=uuid7(), member_id=ended.member_id, merged_into=heir.member_id, reason="duplicate",
            wallets=wallets, survivor_wallets=survivor, identities=(), merged_at=AT,
        )
    )  # fmt: skip
    assert await cards(cafe, heir) == await cards(cafe, ended) == (4, [])
    assert (await quote(cafe, coffees(heir, 1)))["stamp_cards"][0]["rewards"] == 1
    await cafe.post(coffees(heir, 2))
    assert await cards(cafe, heir) == (1, ["asked"])
    [reward] = await effects(cafe, heir)
    await answer(cafe, reward["effect_id"], "issued", benefit_id=uuid7())
    told = (await post(cafe, refund(theirs, all=True))).json()
    await bank.serve(told["bill_id"])  # 3 less: the reward is asked back, its 5 stamps lie on the card again
    assert await cards(cafe, heir) == (3, ["withdrawing"])
    await holds(cafe, settings, "stamps:given", "stamps:taken", "stamps:cards")


SOME_STAMP = "bill_id = (SELECT max(bill_id::text)::uuid FROM earn.stamps WHERE taken_back = 0)"
SPOILT = (
    (
        "UPDATE earn.stamp_cards SET progress = progress + 1 WHERE progress = 1",
        f"UPDATE earn.stamps SET stamps = stamps + 1 WHERE {SOME_STAMP}",
        "UPDATE earn.effects SET reward = 'gold-bar' WHERE kind = 'stamp_card' AND status = 'kept'",
        "UPDATE earn.effects SET status = 'issued' WHERE status = 'asked'",
        "UPDATE earn.budgets SET decided = decided - 1 WHERE campaign = 'tenth/money'",
        "UPDATE earn.caps SET decided = decided + 1 WHERE campaign = 'cookie/times'",
        "DELETE FROM earn.segment_stays",
    ),
    (
        f"UPDATE earn.stamps SET taken_back = 1 WHERE {SOME_STAMP}",
        "DELETE FROM earn.effects WHERE effect_id = (SELECT max(effect_id::text)::uuid FROM earn.effects)",
        "UPDATE earn.bills SET effects_applied = NULL WHERE effects_applied IS NOT NULL",
        "UPDATE earn.budgets SET given_back = 2000 WHERE campaign = 'treat/money'",
        "UPDATE earn.caps SET given_back = 0 WHERE campaign = 'treat/times'",
    ),
    (
        """UPDATE earn.decisions SET decision = replace(decision::text, '"granted_minor":800', '"granted_minor":801')::json
           WHERE decision::text LIKE '%"granted_minor":800%'""",
        """UPDATE earn.decisions SET decision = replace(decision::text, '"stamps":3', '"stamps":4')::json
           WHERE decision::text LIKE '%"stamps":3%'""",
    ),
)
SEEN = (
    {"stamps:cards", "stamps:given", "gifts:decided", "gifts:asked", "gifts:standing"}
    | {"budgets:counted", "caps:counted", "bills:decisions"},
    {"stamps:taken", "gifts:decided", "gifts:asked", "bills:keys", "bills:decisions"}
    | {"budgets:counted", "caps:counted"},
    {"bills:decisions", "stamps:given", "stamps:cards"},
)


async def test_the_oracle_sees_what_was_spoilt(cafe: Shop, settings: Settings, tenant: Tenant) -> None:
    db = await open_books(settings, tenant.code)
    redis = Redis.from_url(settings.redis_url)
    try:
        copies = await heads(redis, settings.cell, tenant.code)
        before, whole = Report(tenant.code), db.transaction()
        await whole.start()
        await check_all(before, Snapshot(db), redis, copies, journal=None, progress=lambda _: None)
        await whole.rollback()
        for spoilt, seen in zip(SPOILT, SEEN, strict=True):
            transaction = db.transaction()
            await transaction.start()
            for sql in spoilt:
                assert await db.execute(sql) not in {"UPDATE 0", "DELETE 0"}, sql
            report = Report(tenant.code)
            await check_all(report, Snapshot(db), redis, copies, journal=None, progress=lambda _: None)
            await transaction.rollback()
            worse = {check.name for check in report.checks if check.broken > before[check.name].broken}
            assert seen <= worse, seen - worse
    finally:
        await redis.aclose()
        await db.close()


async def test_an_item_that_a_till_gave_at_no_price_is_counted_and_told(
    cafe: Shop, settings: Settings
) -> None:
    gift = campaign(
        "cake",
        effect={"free_item": {"sku": "CAKE", "value_minor": 800}},
        budget={"money_minor": 2000},
        member_caps={"day": 1},
    )
    await cafe.hear(activated("cakes", earning={**earning(rule()), "campaigns": [gift]}))
    one, other, third = [await cafe.member("cakes") for _ in range(3)]

    async def given(of: Member) -> tuple[str, int, list[str]]:
        said = [{"programme": "cakes", "campaign": "cake", "amount_minor": 0}]
        body = bill(of, effects_applied=said)
        assert (await cafe.post(body)).status_code == 201
        [offer] = (await decision(cafe, body["bill_ref"])).programmes[0].offers
        why = (await cafe.get(f"/v1/bills/{await cafe.bill_id(body['bill_ref'])}/why")).json()
        words = why["judgements"][0]["words"]
        return offer.result, offer.granted_minor, [word for word in words if "cake" in word]

    result, granted, words = await given(one)
    assert (result, granted) == ("applied", 800)
    assert any("gives a free CAKE" in word for word in words), words
    assert (await given(one))[:2] == ("used_up", 0)
    assert (await given(other))[:2] == ("applied", 800)
    assert (await given(third))[:2] == ("used_up", 0)
    budgets = "SELECT decided FROM earn.budgets WHERE campaign = 'cake/money'"
    caps = "SELECT decided FROM earn.caps WHERE campaign = 'cake/times' AND decided > 0"
    counted = [[row[0] for row in await cafe.auditor.fetch(sql)] for sql in (budgets, caps)]
    assert counted == [[1600], [1, 1]]
    await holds(cafe, settings, "bills:decisions", "budgets:counted", "caps:counted")
