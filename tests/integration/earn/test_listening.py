"""Whoever offers a refund or an activation again before its end is told of the end, each by its own entry."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.earn.jobs.holding import release_held_points
from shared.config import Settings
from shared.messaging import Done
from tests.integration.earn.conftest import Shop, bill
from tests.integration.earn.oracle import noticed, objections, one_moment
from tests.integration.earn.test_holds import delivery
from tests.integration.earn.test_holds import sale as held_sale
from tests.integration.earn.test_holds import told as delivered
from tests.integration.earn.test_refunds import Bank, post, refund, sale, stands
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

TILLS = [f"/pos/riyadh-mall/T{n}" for n in (3, 4, 5)]


def refunded(shop: Shop, body: dict[str, Any], n: int) -> bytes:
    """The refund as the n-th till offers it, under an id of its own."""
    return shop.event(
        body, event_id=f"{n}-{body['refund_ref']}", source=TILLS[n % 3], type="bill.refunded.v1"
    )


def told_to(event: dict[str, Any]) -> list[tuple[str, str]]:
    """Source and id of the entries that an event names, its own first."""
    data = event["data"]
    return [(one["source"], one["event_id"]) for one in (data, *data.get("also_offered_by", ()))]


def entries(ref: str, *tills: int) -> list[tuple[str, str]]:
    return [(TILLS[n % 3], f"{n}-{ref}") for n in tills]


async def last_told(shop: Shop, subject: str) -> dict[str, Any]:
    return (await shop.told(subject))[-1]


async def refund_id_of(shop: Shop, body: dict[str, Any]) -> str:
    found: str = await shop.auditor.fetchval(
        "SELECT refund_id::text FROM earn.refund_keys WHERE refund_ref = $1", body["refund_ref"]
    )
    return found


async def test_every_till_that_offers_a_refund_which_is_pending_is_told_of_its_end(
    shop: Shop, settings: Settings
) -> None:
    body, bill_id, _ = await sale(shop)
    asked = refund(body, all=True)
    await shop.offer(*[refunded(shop, asked, n) for n in (0, 1, 1)])
    await shop.offer(*[refunded(shop, asked, n) for n in (2, 0)])
    pending = (await shop.replies("riyadh-mall.T5"))[-1]
    assert (pending["type"], pending["data"]["status"]) == ("refund.recorded.v1", "pending")
    await Bank(shop).serve(bill_id)
    settled = await last_told(shop, await refund_id_of(shop, asked))
    assert (settled["type"], settled["data"]["status"]) == ("refund.settled.v1", "completed")
    assert told_to(settled) == entries(asked["refund_ref"], 0, 1, 2)
    # Who comes when it is over hears the end at once, and is nobody to be told.
    await shop.offer(refunded(shop, asked, 3))
    again = (await shop.replies("riyadh-mall.T3"))[-1]
    assert (again["id"], told_to(again)) == (settled["id"], entries(asked["refund_ref"], 3))
    refund_id = settled["data"]["refund_id"]
    async with one_moment(settings, shop) as books:
        assert await objections(settings, shop, books, {"refunds:told"}) == {}
        for spoilt in (
            f"UPDATE earn.listeners SET event_id = 'x' WHERE subject_id = '{refund_id}' AND event_id LIKE '1-%'",
            f"DELETE FROM earn.listeners WHERE subject_id = '{refund_id}' AND event_id LIKE '2-%'",
            f"UPDATE earn.settled_events SET told = 2 WHERE subject_id = '{refund_id}' AND told = 3",
            f"DELETE FROM earn.settled_events WHERE subject_id = '{refund_id}'",
        ):
            assert "refunds:told" in await noticed(settings, shop, books, spoilt, {"refunds:told"})


async def test_a_refund_that_came_by_http_is_told_to_the_tills_that_offer_it_too(shop: Shop) -> None:
    body, bill_id, _ = await sale(shop)
    asked = refund(body)
    refund_id = (await post(shop, asked)).json()["refund_id"]
    await shop.offer(refunded(shop, asked, 1), refunded(shop, asked, 2))
    await Bank(shop).serve(bill_id)
    assert told_to(await last_told(shop, refund_id)) == entries(asked["refund_ref"], 1, 2)


async def test_a_refund_before_its_bill_is_told_to_all_who_offered_it(shop: Shop) -> None:
    member = await shop.member()
    body = bill(member)
    asked = refund(body, all=True)
    await shop.offer(*[refunded(shop, asked, n) for n in (0, 1)])
    refund_id = await refund_id_of(shop, asked)
    assert (await stands(shop, refund_id))["status"] == "waiting_for_bill"
    bill_id = (await shop.post(body)).json()["bill_id"]
    bank = Bank(shop)
    async with asyncio.timeout(PATIENCE_S):
        while (await stands(shop, refund_id))["status"] != "completed":
            await bank.serve(bill_id)
            await asyncio.sleep(0.02)
    assert told_to(await last_told(shop, refund_id)) == entries(asked["refund_ref"], 0, 1)


async def test_every_till_that_tells_of_a_delivery_before_its_bill_is_told_once_the_bill_has_come(
    shop: Shop, settings: Settings
) -> None:
    await held_sale(shop, "")  # the programme is known from here on
    member = await shop.member("holding")
    lines = [{"line_id": "1", "amount_minor": 10_000, "categories": ["phone"]}]
    body = bill(member, lines=lines, total_minor=10_000)
    ref = body["bill_ref"]
    offered = [delivered(shop, delivery(body), f"{n}-{ref}", TILLS[n]) for n in range(3)]
    assert await shop.offer(*offered[:2], offered[1]) == [Done(), *[Done(replayed=True)] * 2]
    await shop.offer(offered[2], offered[0])  # the first entry again is nobody new
    bill_id = (await shop.post(body)).json()["bill_id"]
    await release_held_points(shop.runtime)
    subject = f"activation/{body['merchant']}/{ref}"
    recorded, settled = await shop.told(subject)
    assert (settled["type"], settled["data"]["bill_id"]) == ("activation.settled.v1", bill_id)
    assert told_to(settled) == entries(ref, 0, 1, 2)
    assert told_to(recorded) == entries(ref, 0)
    async with one_moment(settings, shop) as books:
        assert await objections(settings, shop, books, {"activations:told"}) == {}
        for spoilt in (
            "UPDATE earn.listeners SET source = 'x' WHERE event_id = '1-{}'",
            "DELETE FROM earn.listeners WHERE event_id = '2-{}'",
            """DELETE FROM earn.settled_events AS s USING earn.told_activations AS t
            WHERE s.subject_id = t.recorded_event_id AND t.bill_ref = '{}'""",
        ):
            sql = spoilt.format(ref)
            assert "activations:told" in await noticed(settings, shop, books, sql, {"activations:told"})
