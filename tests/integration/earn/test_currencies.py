"""Bills in other currencies: converted by the rate of when they happened, which their decision keeps, refunds too."""

from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from shared.config import Settings
from shared.events import RatePublished
from tests.integration.earn.conftest import Shop, bill
from tests.integration.earn.oracle import noticed, objections, one_moment
from tests.integration.earn.test_campaigns import campaign
from tests.integration.earn.test_refunds import Bank, refund
from tests.support.facts import AT, activated, autumn_2026
from tests.support.programmes import SHOPS

pytestmark = pytest.mark.asyncio(loop_scope="module")


def rate(number: int, decimal: str, *, since: datetime = AT, of: str = "EUR") -> RatePublished:
    return RatePublished(
        from_currency=of,
        to_currency="SAR",
        number=number,
        rate=decimal,
        valid_from=since,
        source="central bank",
        author="finance",
        published_at=since,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(running_shop: Shop) -> Shop:
    rules = [
        *SHOPS["earning"]["rules"],
        {
            "code": "large",
            "priority": 50,
            "match": {"categories": ["large"]},
            "action": "earn",
            "rate": {"points": "2", "per_minor": 100},
            "when": {"bill.total_minor": {"gte": 40_000}},
        },
    ]
    tenth = campaign("tenth", effect={"discount": {"percent": "10"}}, match={"categories": ["large"]})
    told = activated("world", earning={**SHOPS["earning"], "rules": rules, "campaigns": [tenth]})
    told.document["programme"]["accepts"] = ["EUR", "JPY"]
    await running_shop.hear(told, rate(1, "4.05"))
    return running_shop


@pytest.fixture(autouse=True)
def noon(running_shop: Shop) -> None:
    running_shop.at(autumn_2026())


async def why(shop: Shop, bill_id: str) -> dict[str, Any]:
    [one] = (await shop.get(f"/v1/bills/{bill_id}/why")).json()["judgements"]
    return dict(one)


async def test_a_bill_is_converted_by_the_rate_of_when_it_happened_and_says_so(world: Shop) -> None:
    member = await world.member("world")
    first = (await world.post(bill(member, currency="EUR"))).json()
    [accrual] = first["accruals"]
    # 90.00 EUR of coffee are 364.50 SAR; the delivery earns nothing.
    assert accrual["available"] == {"points": 364, "money": {"amount_minor": 3640, "currency": "SAR"}}
    told = await why(world, first["bill_id"])
    assert told["words"][0] == "The bill is over 105.00 EUR in 2 lines."
    assert told["words"][2] == (
        "Converted it is over 425.25 SAR: one EUR is 4.05 SAR by rate 1, from 2026-06-01T09:00:00Z on, as central bank says."
    )
    # A correction is used from then on, one for tomorrow is not; what was judged keeps its rate.
    await world.hear(rate(2, "4.10"), rate(3, "9", since=datetime(2026, 11, 23, tzinfo=UTC)))
    second = (await world.post(bill(member, currency="EUR"))).json()
    assert second["accruals"][0]["available"]["points"] == 369
    assert (await why(world, first["bill_id"])) == told
    await world.hear(rate(1, "4.05"))
    third = (await world.post(bill(member, currency="EUR"))).json()
    assert third["accruals"][0]["available"]["points"] == 369


async def test_conditions_ask_for_converted_amounts_and_a_quote_says_the_same(world: Shop) -> None:
    member = await world.member("world")
    line = {"line_id": "1", "categories": ["large"], "amount_minor": 10_000}
    body = bill(member, currency="EUR", total_minor=10_000, lines=[line])
    basket = {key: value for key, value in body.items() if key not in {"bill_ref", "cashier"}}
    quoted = await world.client.post("/v1/quotes", json=basket, headers=world.headers("till"))
    recorded = (await world.post(body)).json()["accruals"][0]["available"]["points"]
    assert recorded == quoted.json()["accruals"][0]["available"]["points"] == 820  # 410.00 SAR, twice
    [tenth] = quoted.json()["accruals"][0]["effects"]
    assert (tenth["amount_minor"], tenth["currency"]) == (4100, "SAR")  # so the bill claims it
    assert (tenth["bill_amount_minor"], tenth["bill_currency"]) == (1000, "EUR")  # so the till takes it off
    own = await world.client.post(
        "/v1/quotes", json={**basket, "currency": "SAR"}, headers=world.headers("till")
    )
    [tenth] = own.json()["accruals"][0]["effects"]
    assert (
        (tenth["bill_amount_minor"], tenth["bill_currency"])
        == (tenth["amount_minor"], "SAR")
        == (1000, "SAR")
    )


async def test_without_a_rate_or_a_programme_that_accepts_it_it_is_a_mismatch(world: Shop) -> None:
    member = await world.member("world")
    for currency in ("JPY", "USD"):
        answered = await world.post(bill(member, currency=currency))
        assert (answered.status_code, answered.json()["code"]) == (422, "currency_mismatch")
    before = await world.post(bill(member, currency="EUR", occurred_at="2026-11-01T00:00:00Z"))
    assert before.status_code == 201
    await world.hear(rate(1, "1000000", of="JPY"))
    beyond = await world.post(bill(member, currency="JPY", total_minor=10**11, lines=[]))
    assert beyond.json()["code"] == "amount_out_of_range"
    own = (await world.post(bill(member))).json()
    assert own["accruals"][0]["available"]["points"] == 90


async def test_refunds_in_the_bills_currency_take_back_exactly_what_it_earned(world: Shop) -> None:
    member = await world.member("world")
    body = bill(member, currency="EUR")
    bill_id = (await world.post(body)).json()["bill_id"]
    wrong = await world.client.post("/v1/refunds", json=refund(body), headers=world.headers("till"))
    assert wrong.json()["code"] == "currency_mismatch"
    bank, targets, last = Bank(world), [], ""
    for amount in (3000, 3000, 4500):
        asked = refund(body, currency="EUR", amount_minor=amount)
        last = (await world.client.post("/v1/refunds", json=asked, headers=world.headers("till"))).json()[
            "refund_id"
        ]
        served = await bank.serve(bill_id)
        targets += [(one["reverse_through"], one["currency"]) for one in served if "reverse_through" in one]
    assert targets == [(105, "SAR"), (210, "SAR"), (369, "SAR")]
    told = (await world.get(f"/v1/refunds/{last}")).json()
    assert (told["status"], told["currency"]) == ("completed", "EUR")
    assert told["reversals"][0]["reversed"] == {
        "points": 159,
        "money": {"amount_minor": 1590, "currency": "SAR"},
    }


CHECKS = {
    "bills:decisions",
    "bills:told",
    "accruals:told",
    "refunds:computed",
    "refunds:told",
    "refunds:asked",
}
ONE = "(SELECT bill_id FROM earn.decisions WHERE decision::text LIKE '%\"number\":1,%' LIMIT 1)"
SPOILT = {
    "another rate": f"""
        UPDATE earn.decisions SET decision = replace(decision::text, '"rate":"4.05"', '"rate":"4.06"')::json
        WHERE bill_id = {ONE}""",
    "another total": f"""
        UPDATE earn.decisions SET decision = replace(decision::text, '"total_minor":42525', '"total_minor":42526')::json
        WHERE bill_id = {ONE}""",
    "a rate that was changed": "UPDATE earn.currency_rates SET rate = '4.04' WHERE number = 1 AND from_currency = 'EUR'",
}


async def test_the_oracle_converts_again_and_notices_what_is_spoilt(settings: Settings, world: Shop) -> None:
    async with one_moment(settings, world) as db:
        assert await objections(settings, world, db, CHECKS) == {}
        for name, sql in SPOILT.items():
            assert "bills:decisions" in await noticed(settings, world, db, sql, CHECKS), name
        asked = "UPDATE earn.refund_requests SET currency = 'EUR' WHERE kind = 'reversal'"
        assert "refunds:computed" in await noticed(settings, world, db, asked, CHECKS)
