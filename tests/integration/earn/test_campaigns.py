"""Budgets and caps are exact whoever writes at once; what is taken back is given back; and the oracle judges it all again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import date
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from pointbank.verify import verify_tenant
from services.earn.domain.bill import read_bill
from services.earn.domain.decision import decode_decision
from services.earn.handlers import ON
from shared.config import Settings
from shared.events import MerchantChanged
from shared.messaging import Done, FromJob, Item
from shared.programme.campaigns import bucket
from shared.tenants import Tenant
from tests.integration.earn.conftest import Member, Shop, bill, running_earn, somebody
from tests.integration.earn.oracle import noticed, one_moment
from tests.integration.earn.test_refunds import Bank, post, refund
from tests.support.facts import activated, autumn_2026
from tests.support.programmes import earning, rule
from tests.support.tenants import running

pytestmark = pytest.mark.asyncio(loop_scope="module")


def campaign(code: str, **more: Any) -> dict[str, Any]:
    usual = {
        "starts_at": "2026-11-01T00:00:00+03:00",
        "ends_at": "2026-12-01T00:00:00+03:00",
        "stacking": "all",
    }
    return {"code": code, **usual, **more}


ARMS = [{"code": "control", "share": 5000, "control": True}, {"code": "given", "share": 5000}]
CAMPAIGNS = [
    campaign("seven", effect={"bonus": 7}, budget={"points": 100}, match={"categories": ["coffee"]}),
    campaign(
        "daily", effect={"bonus": 5}, member_caps={"day": 12}, when={"bill.total_minor": {"gte": 10000}}
    ),
    campaign(
        "first", effect={"bonus": 100}, when={"member.bills": {"eq": 0}}, budget={"money_minor": 10_000_000}
    ),
    campaign("test", effect={"multiplier": "3"}, arms=ARMS, match={"channels": ["app"]}),
]
NO_COFFEE = {"lines": [], "total_minor": 100}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def offers(
    settings: Settings, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    async for made in running_earn(settings, tenant, tmp_path_factory.mktemp("keys")):
        made.at(autumn_2026())
        await made.hear(
            activated("shops", earning={**earning(rule()), "campaigns": CAMPAIGNS}),
            MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T03",)),
        )
        yield made


async def counters(shop: Shop) -> dict[str, tuple[int, int]]:
    rows = await shop.auditor.fetch("SELECT campaign, decided, given_back FROM earn.budgets")
    return {row["campaign"]: (row["decided"], row["given_back"]) for row in rows}


async def test_64_writers_get_the_last_100_points_never_more_and_never_fewer(
    offers: Shop, settings: Settings
) -> None:
    members = [await offers.member() for _ in range(16)]
    bills = [bill(members[k % 16]) for k in range(64)]
    tenant = offers.runtime.tenant
    async with AsyncExitStack() as stack:
        lanes = [
            await stack.enter_async_context(running(settings, tenant, "earn", ON, clock=autumn_2026))
            for _ in range(8)
        ]

        async def write(number: int) -> None:
            command = read_bill(msgspec.json.encode(bills[number]), tenant.identity_key)
            item: Item[Any] = Item(command, FromJob("test"), request_id=f"r{number}", actor="test")
            assert isinstance(await lanes[number % 8].lane.submit(item), Done)

        await asyncio.gather(*[write(number) for number in range(64)])
    assert (await counters(offers))["seven"] == (100, 0)
    assert (await counters(offers))["first"] == (1600, 0)  # of two at once only one is the first
    rows = await offers.auditor.fetch("SELECT decision FROM earn.decisions WHERE status <> 'waiting'")
    given: dict[str, list[int]] = {"seven": [], "first": [], "daily": []}
    for row in rows:
        for one in decode_decision(row["decision"]).programmes[0].details.campaigns:  # type: ignore[union-attr]
            if one.points:
                given[one.campaign].append(one.points)
    assert sorted(given["seven"]) == [2] + [7] * 14
    assert given["first"] == [100] * 16
    assert sorted(given["daily"]) == [2] * 16 + [5] * 32  # four bills each, at most 12 a day
    await holds(offers, settings)


async def holds(shop: Shop, settings: Settings) -> None:
    report = await verify_tenant(settings, shop.code)
    for check in ("bills:decisions", "budgets:counted", "caps:counted"):
        assert report[check].verdict == "holds", report[check].examples


async def test_what_is_taken_back_is_given_back_and_can_be_given_again(
    offers: Shop, settings: Settings
) -> None:
    member = await offers.member()
    body = bill(member, lines=[], total_minor=10000)
    assert (await offers.post(body)).json()["accruals"][0]["available"]["points"] == 100 + 5 + 100
    before, bank = (await counters(offers))["first"], Bank(offers)
    for asked, back in (({"amount_minor": 5000}, 49), ({"all": True}, 100)):
        bill_id = (await post(offers, refund(body, **asked))).json()["bill_id"]
        await bank.serve(bill_id)
        assert (await counters(offers))["first"] == (before[0], before[1] + back)
        await holds(offers, settings)
    day = await offers.auditor.fetchrow(
        "SELECT since, decided, given_back FROM earn.caps WHERE wallet_id = $1 AND campaign = 'daily'",
        member.wallet_id,
    )
    assert day is not None
    assert tuple(day) == (date(2026, 11, 22), 5, 5)
    for _ in range(2):
        again = await offers.post(bill(member, lines=[], total_minor=10000))
        assert again.json()["accruals"][0]["available"]["points"] == 105
    third = await offers.post(bill(member, lines=[], total_minor=10000))
    assert third.json()["accruals"][0]["available"]["points"] == 102
    await holds(offers, settings)


async def test_campaigns_count_what_was_paid_so_that_it_counts_and_the_oracle_works_out_the_same(
    offers: Shop, settings: Settings
) -> None:
    card = campaign("card", effect={"multiplier": "2"}, match={"tenders": ["card"]})
    section = {**earning(rule()), "campaigns": [card, campaign("five", effect={"bonus": 5})]}
    await offers.hear(activated("tenders", earning=section))
    member = await offers.member("tenders")

    async def paid(**tenders: int) -> int:
        said = [{"tender": tender, "amount_minor": amount} for tender, amount in tenders.items()]
        told = await offers.post(bill(member, lines=[], total_minor=10000, tenders=said))
        points: int = told.json()["accruals"][0]["available"]["points"]
        return points

    assert await paid(card=6000, cash=4000) == 100 + 60 + 5
    assert await paid(card=100, points=9900) == 1 + 1 + 5
    assert await paid(points=10000) == 0
    await holds(offers, settings)


SPOIL = """
    UPDATE earn.decisions SET decision = jsonb_set(decision::jsonb, '{programmes,0,details,%s}', '%s')::json
    WHERE decision->'programmes'->0->'details'->'ended' IS NOT NULL
"""


async def test_a_bill_says_why_each_campaign_gave_what_it_gave(offers: Shop, settings: Settings) -> None:
    member = await offers.member()
    answered = await offers.post(bill(member, channel="app", **NO_COFFEE))
    why = (await offers.get(f"/v1/bills/{answered.json()['bill_id']}/why")).json()["judgements"][0]
    assert [line for line in why["words"] if "ampaign" in line or "condition" in line] == [
        "Campaign first gives 100 points (member.bills eq 0: yes); 1600 points of its 1000000 had been given.",
        _arm_in_words(member),
        "Campaign seven counts none of its lines.",
        "Campaign daily is not for this bill: its condition does not hold (bill.total_minor gte 10000: no).",
    ]
    details = why["decision"]["programmes"][0]["details"]
    assert details["ended"] == [["no_lines", "", ["seven"]], ["when", "f", ["daily"]]]
    async with one_moment(settings, offers) as db:
        for name, value in (("ended", '[["no_lines", "", ["daily", "seven"]]]'), ("form", "1")):
            assert await noticed(settings, offers, db, SPOIL % (name, value), {"bills:decisions"}), name


def _arm_in_words(member: Member) -> str:
    if bucket("test", str(member.member_id)) < 5000:
        return "Campaign test gives nothing: the member is in its arm control. It would have given 2 points."
    return "Campaign test gives 2 points, in its arm given."


async def test_a_quote_says_what_the_bill_then_earns_and_writes_nothing(offers: Shop) -> None:
    member = await offers.member()
    body = bill(member)
    basket = {name: value for name, value in body.items() if name not in {"bill_ref", "cashier"}}
    tables = ("bills", "decisions", "accruals", "caps", "budgets", "outbox", "audit", "idempotency")
    before = [await offers.count(table) for table in tables], await counters(offers)
    asked = await offers.client.post("/v1/quotes", json=basket, headers=offers.headers("till"))
    assert asked.status_code == 200, asked.text
    assert ([await offers.count(table) for table in tables], await counters(offers)) == before
    [quoted] = asked.json()["accruals"]
    assert [(one["campaign"], one["result"], one["points"]["points"]) for one in quoted["campaigns"]] == [
        ("seven", "used_up", 0),
        ("daily", "applied", 5),
        ("first", "applied", 100),
        ("test", "channels", 0),
    ]
    assert quoted["balance"] == f"/v1/wallets/{member.wallet_id}/balance"
    assert asked.json()["words"][-1] == "Together: 210 points, 210 available and 0 held."
    recorded = (await offers.post(body)).json()["accruals"][0]
    assert {name: quoted[name] for name in recorded} == recorded
    now = {name: value for name, value in basket.items() if name != "occurred_at"}
    again = await offers.client.post("/v1/quotes", json=now, headers=offers.headers("till"))
    assert again.json()["accruals"][0]["available"]["points"] == 110


async def test_a_quote_waits_for_nobody(offers: Shop) -> None:
    async def code(**changes: Any) -> str:
        basket = {
            name: value for name, value in bill(somebody()).items() if name not in {"bill_ref", "cashier"}
        }
        answered = await offers.client.post(
            "/v1/quotes", json={**basket, **changes}, headers=offers.headers("till")
        )
        return str(answered.json().get("code", answered.status_code))

    assert await code() == "member_unknown"
    assert await code(merchant="nowhere") == "merchant_unknown"
    assert await code(terminal="T99") == "terminal_unknown"
    assert await code(total_minor=1) == "total_mismatch"
    assert await code(currency="EUR") == "member_unknown"
    assert await code(member=None, currency="EUR") == "currency_mismatch"
    assert await code(member=None) == "200"
    assert await code(bill_ref="x") == "field_unknown"
