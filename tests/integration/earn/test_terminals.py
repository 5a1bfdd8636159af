"""A merchant's terminals are those that it was told with last: what one that was taken off rings up is refused."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from shared.events import MerchantChanged
from shared.messaging import Done
from tests.integration.earn.conftest import Shop, bill, somebody
from tests.integration.earn.test_waiting import caught_up, settled
from tests.support.http import assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


def kiosk() -> str:
    return f"kiosk-{secrets.token_hex(4)}"


def told(merchant: str, version: int, *terminals: str) -> MerchantChanged:
    return MerchantChanged(merchant=merchant, version=version, terminals=terminals)


def at(merchant: str, terminal: str, member: Any = None, **more: Any) -> dict[str, Any]:
    return bill(member, merchant=merchant, terminal=terminal, **more)


async def earned_at(shop: Shop, merchant: str, terminal: str) -> int:
    """The status of a bill that was posted there."""
    return (await shop.post(at(merchant, terminal, await shop.member("shops")))).status_code


@pytest.mark.parametrize("together", [False, True])
async def test_a_terminal_that_was_taken_off_earns_nothing_by_either_way(shop: Shop, together: bool) -> None:
    merchant, member = kiosk(), await shop.member("shops")
    changes = [told(merchant, 1, "T01", "T03"), told(merchant, 2, "T01")]
    if together:
        await shop.hear(*changes)
    else:
        await shop.hear(changes[0])
        assert await earned_at(shop, merchant, "T03") == 201
        await shop.hear(changes[1])
    refused = await shop.post(at(merchant, "T03", member))
    problem = assert_problem(refused, 422, "terminal_unknown")
    assert problem["errors"][0]["pointer"] == "/terminal"
    assert problem["detail"] == (
        f"T03 was taken off the terminals of {merchant}. Once PUT /v1/merchants/{merchant} names it again, "
        "send the bill again, by HTTP under a new Idempotency-Key."
    )
    assert await shop.code_of(shop.event(at(merchant, "T03", member))) == "terminal_unknown"
    assert await earned_at(shop, merchant, "T01") == 201


async def test_a_terminal_that_is_put_back_earns_again(shop: Shop) -> None:
    merchant, member = kiosk(), await shop.member("shops")
    await shop.hear(told(merchant, 1, "T01", "T03"), told(merchant, 2, "T01"))
    offered = shop.event(at(merchant, "T03", member))
    assert await shop.code_of(offered) == "terminal_unknown"
    await shop.hear(told(merchant, 3, "T03"))
    assert await shop.code_of(offered) == ""
    assert await earned_at(shop, merchant, "T01") == 422


async def test_an_older_word_about_a_merchant_changes_nothing(shop: Shop) -> None:
    merchant = kiosk()
    await shop.hear(told(merchant, 2, "T01"))
    await shop.hear(told(merchant, 1, "T01", "T03"))
    assert [await earned_at(shop, merchant, terminal) for terminal in ("T01", "T03")] == [201, 422]


async def test_a_bill_that_was_recorded_before_is_answered_again(shop: Shop) -> None:
    merchant, member = kiosk(), await shop.member("shops")
    await shop.hear(told(merchant, 1, "T03"))
    body = at(merchant, "T03", member)
    first = await shop.post(body)
    await shop.hear(told(merchant, 2, "T01"))
    again = await shop.post(body)
    assert (first.status_code, again.status_code, again.json()) == (201, 200, first.json())
    assert await shop.offer(shop.event(body)) == [Done(replayed=True)]


async def test_a_bill_that_waits_for_its_member_alone_settles_whatever_became_of_its_terminal(
    shop: Shop,
) -> None:
    """It was taken when the terminal was one: what was answered is never refused."""
    merchant, member = kiosk(), somebody()
    await shop.hear(told(merchant, 1, "T03"))
    bill_id = (await shop.post(at(merchant, "T03", member))).json()["bill_id"]
    await shop.hear(told(merchant, 2, "T01"))
    await shop.hear(shop.enrolment(member))
    assert (await settled(shop, bill_id, "earned"))["accruals"][0]["available"]["points"] == 90


async def test_a_bill_that_waits_for_a_terminal_settles_only_while_it_is_one(shop: Shop) -> None:
    merchant, member = kiosk(), await shop.member("shops")
    answered = await shop.post(at(merchant, "T03", member))
    assert (answered.status_code, answered.json()["status"]) == (202, "waiting")
    bill_id = answered.json()["bill_id"]
    await shop.hear(told(merchant, 1, "T03"), told(merchant, 2, "T01"))
    await caught_up(shop.runtime)
    await settled(shop, bill_id, "unclaimed")
    await shop.hear(told(merchant, 3, "T01", "T03"))
    assert (await settled(shop, bill_id, "earned"))["accruals"][0]["available"]["points"] == 90


async def test_a_terminal_that_nobody_told_of_is_waited_for_as_before(shop: Shop) -> None:
    merchant = kiosk()
    await shop.hear(told(merchant, 1, "T01"))
    assert await earned_at(shop, merchant, "T09") == 202


async def test_a_quote_says_so_too(shop: Shop) -> None:
    merchant, member = kiosk(), await shop.member("shops")
    await shop.hear(told(merchant, 1, "T01", "T03"), told(merchant, 2, "T01"))
    basket = at(merchant, "T03", member)
    del basket["bill_ref"]
    answer = await shop.client.post("/v1/quotes", json=basket, headers=shop.headers("till"))
    assert "was taken off" in assert_problem(answer, 422, "terminal_unknown")["detail"]
