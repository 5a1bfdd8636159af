"""Refunds of a till that come in one batch end as they would one after the other."""

import pytest

from shared.messaging import Outcome, Refused
from tests.integration.earn.conftest import Shop, bill
from tests.integration.earn.test_refunds import refund

pytestmark = pytest.mark.asyncio(loop_scope="module")


def code(outcome: Outcome) -> str:
    return outcome.refusal.code if isinstance(outcome, Refused) else ""


async def test_of_two_refunds_under_one_id_the_first_is_taken(shop: Shop) -> None:
    body = bill(await shop.member())
    await shop.post(body)
    asked = [refund(body, amount_minor=amount) for amount in (100, 200)]
    events = [shop.event(one, event_id=asked[0]["refund_ref"], type="bill.refunded.v1") for one in asked]
    assert [code(one) for one in await shop.offer(*events)] == ["", "id_reused"]
    refs = "SELECT refund_ref, refunded_minor FROM earn.refunds WHERE bill_ref = $1"
    found = [tuple(row) for row in await shop.auditor.fetch(refs, body["bill_ref"])]
    assert found == [(asked[0]["refund_ref"], 100)]


async def test_a_refund_under_a_used_id_takes_nothing_from_those_beside_it(shop: Shop) -> None:
    other, body = bill(await shop.member()), bill(await shop.member())
    for one in (other, body):
        await shop.post(one)
    before, whole, good = refund(other), refund(body, all=True), refund(body, amount_minor=300)
    used = before["refund_ref"]
    events = [
        shop.event(one, event_id=event_id, type="bill.refunded.v1")
        for one, event_id in ((before, used), (whole, used), (good, good["refund_ref"]))
    ]
    assert [code(one) for one in await shop.offer(events[0])] == [""]
    assert [code(one) for one in await shop.offer(*events[1:])] == ["id_reused", ""]
