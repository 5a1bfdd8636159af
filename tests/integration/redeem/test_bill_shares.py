"""What points may pay of a bill holds over all that pay it: whoever they are, wherever, and whenever the bill is named."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from shared.config import Settings
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, Member, asks, opened
from tests.integration.redeem.test_authorisations import authorised, capture, void
from tests.integration.redeem.test_limits import RULES
from tests.integration.redeem.test_offline import OFFLINE, allowed, reported
from tests.integration.redeem.test_offline import use as spent
from tests.integration.redeem.test_returns import give_back
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import activated
from tests.support.meeting import Meeting, gate

pytestmark = pytest.mark.asyncio(loop_scope="module")

Two: TypeAlias = Meeting[Bank]

HALF = {"max_bill_share": "0.5"}
BY_CATEGORY = {"acceptance": [{"merchant": "riyadh-mall", "categories": ["coffee"], "max_bill_share": "0.5"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(
    settings: Settings, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Two]:
    keys = tmp_path_factory.mktemp("keys")
    async with (
        opened(settings, tenant, keys) as one,
        opened(settings, tenant, keys) as other,
        gate(settings.admin_dsn(), tenant.database) as met,
    ):
        yield Two(one, other, met)


async def programme(bank: Bank, **rules: Any) -> str:
    code = f"p-{secrets.token_hex(4)}"
    await bank.hear(activated(code, redemption={**RULES, **rules}))
    return code


async def members(bank: Bank, code: str, many: int) -> list[Member]:
    return [await bank.member(500, programme=code) for _ in range(many)]


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, "" if answer.is_success else answer.json()["code"]


EXCEEDED = (409, "bill_share_exceeded")


async def test_two_members_in_two_processes_pay_no_more_than_a_bills_share(two: Two) -> None:
    """Each has read what was paid of the bill when the other writes: nothing but the bill keeps them apart."""
    code = await programme(two.first, **HALF)
    one, other = await members(two.first, code, 2)
    asked = {"programme": code, "bill_ref": f"B-{code}", "bill_total_minor": 2_000, "points": 60}
    assert code_of(await two.first.redeem(asks(one, **{**asked, "points": 10}))) == (201, "")
    answers = await two.gate.met_writing(
        "redeem.redemptions", two.first.redeem(asks(one, **asked)), two.second.redeem(asks(other, **asked))
    )
    assert [code_of(answer) for answer in answers] == [(201, ""), EXCEEDED]


async def test_two_members_pay_no_more_than_a_bill_is_of_where_no_share_is_set(two: Two) -> None:
    code = await programme(two.first)
    one, other = await members(two.first, code, 2)
    asked = {"programme": code, "bill_ref": f"B-{code}", "bill_total_minor": 1_000, "points": 60}
    answers = await two.gate.met_writing(
        "redeem.redemptions",
        two.first.redeem(asks(one, **asked)),
        two.second.redeem(asks(other, capture="later", **asked)),
    )
    assert [code_of(answer) for answer in answers] == [(201, ""), EXCEEDED]


async def test_what_is_captured_for_a_bill_is_held_against_the_share_of_it(two: Two) -> None:
    code = await programme(two.first, **HALF)
    one, other = await members(two.first, code, 2)
    asked = {"programme": code, "bill_total_minor": 2_000, "points": 60}
    first, second = [await authorised(two.first, member, **asked) for member in (one, other)]
    bill = {"bill_ref": f"B-{code}"}
    assert code_of(await capture(two.first, first, bill)) == (200, "")
    assert code_of(await capture(two.second, second, bill)) == EXCEEDED
    assert (await two.first.wallet(other.wallet_id))["reserved"] == 60, "a refusal leaves nothing behind"
    assert code_of(await capture(two.second, second, {**bill, "points": 41})) == EXCEEDED
    assert code_of(await capture(two.second, second, {**bill, "points": 40})) == (200, "")


async def test_two_captures_that_name_one_bill_at_once_are_held_against_one_share(two: Two) -> None:
    code = await programme(two.first, **BY_CATEGORY)
    one, other = await members(two.first, code, 2)
    asked = {"programme": code, "bill_categories": {"coffee": 2_000, "fuel": 9_000}, "points": 60}
    first, second = [await authorised(two.first, member, **asked) for member in (one, other)]
    bill = {"bill_ref": f"B-{code}"}
    answers = await two.gate.met_writing(
        "redeem.redemptions", capture(two.first, first, bill), capture(two.second, second, bill)
    )
    assert [code_of(answer) for answer in answers] == [(200, ""), EXCEEDED]


async def test_a_capture_and_a_redemption_of_one_bill_are_held_against_one_share(two: Two) -> None:
    code = await programme(two.first, **HALF)
    one, other = await members(two.first, code, 2)
    asked = {"programme": code, "bill_total_minor": 2_000, "points": 60}
    bill = f"B-{code}"
    aside = await authorised(two.first, one, **asked)
    assert code_of(await two.second.redeem(asks(other, bill_ref=bill, **asked))) == (201, "")
    assert code_of(await capture(two.first, aside, {"bill_ref": bill})) == EXCEEDED


async def test_what_came_back_of_a_bill_can_be_paid_of_it_again(two: Two) -> None:
    code = await programme(two.first, **HALF)
    one, other = await members(two.first, code, 2)
    asked = {"programme": code, "bill_total_minor": 2_000}
    bill = f"B-{code}"
    paid = (await two.first.redeem(asks(one, points=60, bill_ref=bill, **asked))).json()
    aside = await authorised(two.first, one, points=40, bill_ref=bill, **asked)
    later = await authorised(two.second, other, points=60, **asked)
    assert code_of(await capture(two.second, later, {"bill_ref": bill})) == EXCEEDED
    assert (await give_back(two.first, paid["redemption_id"], points=20)).status_code == 201
    assert code_of(await capture(two.second, later, {"bill_ref": bill})) == EXCEEDED
    assert (await void(two.first, aside)).status_code == 200
    assert code_of(await capture(two.second, later, {"bill_ref": bill})) == (200, "")
    assert code_of(await two.first.redeem(asks(one, points=1, bill_ref=bill, **asked))) == EXCEEDED


async def test_what_was_spent_offline_is_posted_beyond_the_share_and_leaves_nothing_of_it(two: Two) -> None:
    code = await programme(two.first, offline=OFFLINE, **HALF)
    one, other = await members(two.first, code, 2)
    bill = f"B-{code}"
    asked = {"programme": code, "bill_total_minor": 2_000}
    aside = await authorised(two.first, one, points=60, bill_ref=bill, **asked)
    named_later = await authorised(two.first, one, points=1, **asked)
    allowance = await allowed(two.first, other, code)
    said = await reported(two.first, allowance, spent("R-1", 90, bill_ref=bill))
    assert [use["outcome"] for use in said["redemptions"]] == ["posted"]
    assert code_of(await capture(two.second, named_later, {"bill_ref": bill})) == EXCEEDED
    assert code_of(await two.second.redeem(asks(other, points=1, bill_ref=bill, **asked))) == EXCEEDED
    # What was set aside for the bill before was promised.
    assert code_of(await capture(two.second, aside)) == (200, "")


async def test_the_books_are_whole_until_more_is_paid_of_a_bill_than_may_be(
    two: Two, settings: Settings
) -> None:
    bank = two.first
    half = await programme(bank, **HALF)
    [one] = await members(bank, half, 1)
    whole = {"programme": half, "bill_ref": f"B-{half}", "bill_total_minor": 2_000, "points": 50}
    assert code_of(await bank.redeem(asks(one, **whole))) == (201, "")
    aside = await authorised(bank, one, **whole)
    assert code_of(await capture(bank, aside)) == (200, "")
    of_it = f"bill_ref = 'B-{half}'"
    await assert_whole_until_spoilt(
        settings,
        bank.code,
        frozenset({"redemptions:shares", "redemptions:kept"}),
        {
            "a bill that was said to be smaller": (
                f"UPDATE redeem.bill_shares SET most_minor = most_minor - 1 WHERE {of_it}",
                {"redemptions:shares"},
            ),
            "a redemption that paid for more": (
                f"UPDATE redeem.redemptions SET money_minor = money_minor + 1 WHERE {of_it} AND status = 'captured'",
                {"redemptions:shares"},
            ),
        },
    )
