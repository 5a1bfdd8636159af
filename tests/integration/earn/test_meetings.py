"""Two processes that do the same at the same moment: each meets the other at the row that decides, and it counts once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias
from uuid import UUID

import pytest
import pytest_asyncio

from services.earn.handlers import ReportActUnclaimed
from services.earn.handlers.settle import ReportUnclaimed, Settle, Tick
from shared.config import Settings
from shared.db import connect
from shared.events import BenefitAnswered, MerchantChanged
from shared.tenants import Tenant
from tests.integration.earn.conftest import Shop, bill, running_earn, somebody
from tests.integration.earn.test_acts import EARNING as CLUB
from tests.integration.earn.test_acts import act
from tests.integration.earn.test_acts import post as tell
from tests.integration.earn.test_campaigns import campaign
from tests.integration.earn.test_checkout import CARD, cards, coffees, effects
from tests.integration.earn.test_referrals import EARNING, friend_of, given, led, reversals
from tests.integration.earn.test_refunds import Bank, post, refund
from tests.support.facts import activated
from tests.support.meeting import Meeting, gate
from tests.support.programmes import earning, rule

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAMPAIGNS = [
    campaign("few", effect={"bonus": 70}, budget={"points": 100}, match={"channels": ["app"]}),
    campaign(
        "treat",
        effect={"issue": {"reward": "treat", "value_minor": 1000}},
        budget={"money_minor": 5000},
        when={"bill.channel": {"eq": "ecom"}},
    ),
]


Two: TypeAlias = Meeting[Shop]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(
    settings: Settings, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Two]:
    keys = tmp_path_factory.mktemp("keys")
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(asynccontextmanager(running_earn)(settings, tenant, keys))
            for _ in range(2)
        ]
        section = {**earning(rule()), "campaigns": CAMPAIGNS, "stamp_cards": [CARD]}
        await first.hear(
            activated("shops", earning=section),
            activated("circle", earning=EARNING),
            MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T01", "T03")),
        )
        met = await stack.enter_async_context(gate(settings.admin_dsn(), tenant.database))
        yield Two(first, second, met)


async def test_two_refunds_give_back_no_more_than_the_bill_was(two: Two) -> None:
    body = bill(await two.first.member())
    await two.first.post(body)
    bill_id = await two.first.bill_id(body["bill_ref"])
    await post(two.first, refund(body, amount_minor=500))
    await Bank(two.first).serve(bill_id)
    met = await two.gate.met(
        "earn.sagas",
        f"bill_id = '{bill_id}'",
        post(two.first, refund(body, amount_minor=6000)),
        post(two.second, refund(body, amount_minor=6000)),
    )
    assert [(one.status_code, one.json().get("code")) for one in met] == [
        (202, None),
        (201, "refund_exceeds_bill"),
    ]


async def test_a_refund_that_comes_to_two_is_one(two: Two) -> None:
    body = bill(await two.first.member())
    await two.first.post(body)
    bill_id = await two.first.bill_id(body["bill_ref"])
    await post(two.first, refund(body, amount_minor=500))
    await Bank(two.first).serve(bill_id)
    asked = refund(body, amount_minor=1000)
    met = await two.gate.met(
        "earn.sagas", f"bill_id = '{bill_id}'", post(two.first, asked), post(two.second, asked)
    )
    assert met[0].json()["refund_id"] == met[1].json()["refund_id"]
    refunded = "SELECT sum(refunded_minor) FROM earn.refunds WHERE bill_id = $1 AND n IS NOT NULL"
    assert await two.first.auditor.fetchval(refunded, UUID(bill_id)) == 1500


async def test_a_bill_that_waited_is_settled_by_one_of_two(two: Two) -> None:
    member = somebody()
    bill_id = (await two.first.post(bill(member, lines=[], total_minor=9000))).json()["bill_id"]
    settle = Settle(UUID(bill_id))
    await two.gate.met(
        "earn.waiting",
        f"bill_id = '{bill_id}'",
        two.first.hear(two.first.enrolment(member)),
        two.first.runtime.do(settle, job="one"),
        two.second.runtime.do(settle, job="another"),
    )
    told = [event["type"] for event in await two.first.told(bill_id)]
    assert (told.count("points.accrued.v1"), told.count("bill.settled.v1")) == (1, 1)


async def test_two_bills_are_given_the_last_of_a_budget_once(two: Two) -> None:
    one, first, other = [await two.first.member() for _ in range(3)]
    await two.first.post(bill(one, lines=[], total_minor=100, channel="app"))
    await two.gate.met(
        "earn.budgets",
        "campaign = 'few'",
        two.first.post(bill(first, lines=[], total_minor=100, channel="app")),
        two.second.post(bill(other, lines=[], total_minor=100, channel="app")),
    )
    spent = "SELECT decided - given_back FROM earn.budgets WHERE campaign = 'few'"
    assert await two.first.auditor.fetchval(spent) == 100


async def test_a_card_that_two_bills_fill_gives_one_reward(two: Two) -> None:
    member = await two.first.member()
    await two.first.post(coffees(member, 3))
    await two.gate.met(
        "earn.stamp_cards",
        f"wallet_id = '{member.wallet_id}'",
        two.first.post(coffees(member, 2)),
        two.second.post(coffees(member, 2)),
    )
    assert await cards(two.first, member) == (2, ["asked"])


async def test_a_refused_reward_gives_its_budget_back_once(two: Two) -> None:
    members = [await two.first.member() for _ in range(2)]
    for member in members:
        await two.first.post(bill(member, channel="ecom"))
    [effect] = await effects(two.first, members[0])
    refused = BenefitAnswered(
        effect_id=effect["effect_id"], outcome="refused", benefit_id=None, code="reward_sold_out"
    )
    await two.gate.met(
        "earn.effects",
        f"effect_id = '{effect['effect_id']}'",
        two.first.hear(refused),
        two.second.hear(refused),
    )
    counted = "SELECT decided, given_back FROM earn.budgets WHERE campaign = 'treat/money'"
    assert tuple(await two.first.auditor.fetchrow(counted) or ()) == (2000, 1000)


async def test_what_a_referral_gave_is_given_back_to_its_caps_once(two: Two) -> None:
    by = await two.first.member("circle")
    friends = [await friend_of(two.first, by) for _ in range(2)]
    bank = Bank(two.first)
    bills: list[dict[str, Any]] = []
    for friend in friends:
        bills.append(bill(friend))
        await two.first.post(bills[-1])
        await given(two.first, friend)
    await post(two.first, refund(bills[0], all=True))
    [asked] = [
        one
        for one in await reversals(two.first, friends[0], wait_for=2)
        if one["data"]["wallet_id"] == str(by.wallet_id)
    ]
    await bank.asked(asked["subject"])
    reversed_ = bank.answer(asked["data"])
    await two.gate.met(
        "earn.act_reversals",
        f"request_id = '{asked['data']['request_id']}'",
        two.first.hear(reversed_),
        two.second.hear(reversed_),
    )
    caps = "SELECT decided, given_back FROM earn.caps WHERE campaign = 'act:friends' AND wallet_id = $1"
    assert [tuple(row) for row in await two.first.auditor.fetch(caps, by.wallet_id)] == [(1000, 500)]


async def test_who_merges_a_friend_waits_for_who_judges_its_first_bill(two: Two) -> None:
    by, heir = await two.first.member("circle"), await two.first.member("circle")
    friend = await friend_of(two.first, by)
    merged = "SELECT count(*) FROM earn.merged_members WHERE member_id = $1"
    met = await two.gate.met(
        "earn.referrals",
        f"member_id = '{friend.member_id}'",
        two.second.hear(led(two.second, friend, heir)),
        two.first.auditor.fetchval(merged, friend.member_id),
    )
    assert met == [None, 0]
    assert await two.first.auditor.fetchval(merged, friend.member_id) == 1


@pytest.mark.parametrize("kind", ["bills", "acts"])
@pytest.mark.parametrize("first", ["the report", "the enrolment"])
async def test_what_comes_while_it_is_reported_that_it_did_not_is_looked_at(
    two: Two, settings: Settings, kind: str, first: str
) -> None:
    """Who learns it passes by what is being reported: nobody else looks before the sweep that looks at all."""
    await two.first.hear(activated("club", earning=CLUB))
    member = somebody()
    report: Callable[[UUID], object]
    if kind == "bills":
        found, name, table, report = await two.first.post(bill(member)), "bill_id", "waiting", ReportUnclaimed
    else:
        told = act(member, "survey")
        found, name, table, report = await tell(two.first, told), "act_id", "act_waiting", ReportActUnclaimed
    waits = UUID(found.json()[name])
    state = f"SELECT unclaimed AND NOT ready FROM earn.{table} WHERE {name} = $1"
    while not await two.first.auditor.fetchval(state, waits):
        await asyncio.sleep(0.02)
    # As if its deadline lay far ahead: the services' own jobs have reported it, for theirs is none.
    db = await connect(settings.admin_dsn(), database=two.first.runtime.tenant.database)
    await db.execute(
        f"UPDATE earn.{table} SET unclaimed = false, since_ms = since_ms + 10 ^ 12 WHERE {name} = $1", waits
    )
    await db.close()
    reporting = two.first.runtime.do(report(waits), job="test")
    hearing = two.second.hear(two.second.enrolment(member))
    if first == "the report":
        decisions = "earn.decisions" if kind == "bills" else "earn.act_decisions"
        await two.gate.met_writing(decisions, reporting, hearing)
    else:
        await two.gate.met_writing("earn.identities", hearing, reporting)
    ready = f"SELECT ready FROM earn.{table} WHERE {name} = $1"
    assert await two.first.auditor.fetchval(ready, waits) in (True, None)


async def test_time_that_two_see_pass_for_the_deadline_passes_once(two: Two, settings: Settings) -> None:
    """Their own jobs, which look for themselves, may take the time away before they meet: then they meet again."""
    clock = "SELECT running_ms FROM earn.waiting_clock"
    passed = 0
    for _ in range(10):
        before = await two.first.auditor.fetchval(clock)
        db = await connect(settings.admin_dsn(), database=two.first.runtime.tenant.database)
        await db.execute(
            "UPDATE earn.waiting_clock SET ticked_at = clock_timestamp() - interval '15 seconds'"
        )
        await db.close()
        await two.gate.met(
            "earn.waiting_clock",
            "one",
            *[shop.runtime.do(Tick(runs=True), job="test") for shop in (two.first, two.second)],
        )
        passed = await two.first.auditor.fetchval(clock) - before
        if passed >= 15_000:
            break
    assert 15_000 <= passed < 25_000
