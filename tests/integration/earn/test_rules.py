"""Rules that ask for the bill, its tenders, its merchant's brand and its member: judged, explained, and judged again by the
oracle from what the decision kept."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pointbank.verify import verify_tenant
from services.earn.handlers import Settle
from shared.config import Settings
from shared.events import MerchantChanged
from shared.tenants import Tenant
from tests.integration.earn.conftest import Shop, bill, running_earn, somebody
from tests.support.facts import activated
from tests.support.http import assert_problem
from tests.support.programmes import rule

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICKY: dict[str, Any] = {
    "tax": "excluded",
    "rules": [
        {
            **rule("welcome", "5"),
            "priority": 9,
            "when": {"member.bills": {"eq": 0}, "bill.total_minor": {"gte": 5000}},
        },
        rule("own-brand", "2", priority=8, match={"brands": ["Beans"]}),
        {**rule("big", "3", priority=7), "when": {"line.amount_minor": {"gte": 9000}}},
        rule("card", "1", priority=6, match={"tenders": ["card"]}),
    ],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def picky(
    settings: Settings, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    async for made in running_earn(settings, tenant, tmp_path_factory.mktemp("keys")):
        await made.hear(
            activated("shops", earning=PICKY),
            MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T03",)),
            MerchantChanged(merchant="beans", version=2, brand="Beans", terminals=("T03",)),
            MerchantChanged(merchant="beans", version=1, brand="Old"),
        )
        yield made


def points(answer: Any) -> int:
    [accrual] = answer.json()["accruals"]
    return int(accrual["available"]["points"])


async def test_a_bill_is_judged_by_all_that_is_known_of_it_and_explained(
    picky: Shop, settings: Settings
) -> None:
    member = await picky.member()
    first = await picky.post(bill(member))
    assert points(first) == (10500 - 1370) * 5 // 100  # nobody's bill came before; the tax earns nothing
    paid = {"tenders": [{"tender": "points", "amount_minor": 2500}, {"tender": "card", "amount_minor": 8000}]}
    second = await picky.post(bill(member, **paid))
    # 78.26 of coffee three times, 13.04 of delivery once by card; 80 of 105 were not paid with points.
    assert points(second) == (7826 * 8000 // 10500 * 3 + 1304 * 8000 // 10500) // 100
    assert points(await picky.post(bill(member, merchant="beans"))) == (10500 - 1370) * 2 // 100
    why = (await picky.get(f"/v1/bills/{second.json()['bill_id']}/why")).json()["judgements"][0]
    details = why["decision"]["programmes"][0]["details"]
    assert details.pop("inputs").keys() == {"bills", "last_bill_at", "enrolled_at"}
    assert details == {
        "not_for": [["welcome", "when"], ["own-brand", "brands"]],
        "conditions": [["welcome", False, "ft"]],
        "line_conditions": [["big", "t f"]],
    }
    assert why["words"][2:6] == [
        "1 bill of the member had been judged before.",
        "Rule welcome is not for this bill: its condition does not hold.",
        "Rule own-brand is not for this bill: it is for other brands.",
        "The condition of welcome does not hold (member.bills eq 0: no; bill.total_minor gte 5000: yes).",
    ]
    # Two of a member who has none, in one batch: the second one finds the first.
    pair = await picky.member()
    await picky.offer(*[picky.event(bill(pair)) for _ in range(2)])
    found = await picky.auditor.fetch(
        "SELECT points FROM earn.accruals WHERE wallet_id = $1 ORDER BY points", pair.wallet_id
    )
    assert [row["points"] for row in found] == [234, 456]  # 78.26 x 3 by the line; 91.30 x 5
    report = await verify_tenant(settings, picky.code)
    for check in ("bills:decisions", "bills:keys"):
        assert report[check].verdict == "holds", report[check].examples


async def test_a_bill_that_waited_keeps_its_tenders(picky: Shop, settings: Settings) -> None:
    late = somebody()
    waiting = bill(late, tenders=[{"tender": "points", "amount_minor": 10500}])
    answered = await picky.post(waiting)
    assert answered.status_code == 202
    await picky.hear(picky.enrolment(late))
    bill_id = answered.json()["bill_id"]
    for row in await picky.auditor.fetch("SELECT bill_id FROM earn.waiting"):
        await picky.runtime.do(Settle(row["bill_id"]), job="settle")
    settled = (await picky.get(f"/v1/bills/{bill_id}")).json()
    assert settled["status"] == "nothing"
    assert (await picky.post(waiting)).status_code == 200
    assert (await picky.post({**waiting, "tenders": None})).status_code == 409
    report = await verify_tenant(settings, picky.code)
    assert report["bills:decisions"].verdict == "holds", report["bills:decisions"].examples


async def test_tenders_that_do_not_add_up_are_refused(picky: Shop) -> None:
    member, before = await picky.member(), await picky.count("bills")
    short = bill(member, tenders=[{"tender": "card", "amount_minor": 1}])
    assert_problem(await picky.post(short), 422, "total_mismatch")
    twice = bill(member, tenders=[{"tender": "card", "amount_minor": 5250}] * 2)
    assert_problem(await picky.post(twice), 422, "field_type")
    assert await picky.code_of(picky.event(twice)) == "field_type"
    assert await picky.count("bills") == before
