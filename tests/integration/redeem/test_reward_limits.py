"""How many of a reward a member can have in a day: what counts is when it was sold, however much later it is captured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shared.config import Settings
from tests.integration.redeem.conftest import Bank, asks
from tests.integration.redeem.test_authorisations import authorised, capture, post
from tests.integration.redeem.test_merges import merge
from tests.integration.redeem.test_returns import give_back
from tests.integration.redeem.test_rewards import put
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.http import assert_problem

MINUTE = timedelta(minutes=1)


async def test_what_is_captured_after_midnight_counts_on_the_day_that_it_was_sold(
    bank: Bank, settings: Settings
) -> None:
    await put(bank, "daily", price={"points": 1}, limit={"most": 1, "per": "day"}, stock=9)
    member = await bank.member(100)
    buy = asks(member, reward="daily")
    riyadh = datetime.now(UTC) + timedelta(hours=3)
    midnight = riyadh.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1, hours=-3)

    at(bank, midnight - 5 * MINUTE)
    evening = await authorised(bank, member, reward="daily")
    assert_problem(await bank.redeem(buy), 409, "reward_limit_reached")
    at(bank, midnight + 5 * MINUTE)
    assert (await capture(bank, evening)).status_code == 200
    asked = {"programme": "shops", "member": buy["member"]}
    offered = await bank.client.post("/v1/rewards/affordable", json=asked, headers=bank.headers("crm"))
    assert [one["refusal"] for one in offered.json()["items"]] == [None]
    assert (await post(bank, "redemption-quotes", buy)).json()["refusal"] is None
    morning = await bank.redeem(buy)
    assert morning.status_code == 201, morning.text
    assert_problem(await bank.redeem(buy), 409, "reward_limit_reached")
    # One that is returned is had no more.
    assert (await give_back(bank, morning.json()["redemption_id"], all=True)).status_code == 201
    last = await bank.redeem(buy)
    assert last.status_code == 201

    earlier = (
        "UPDATE redeem.redemptions SET effective_at = effective_at - interval '10 minutes'"
        f" WHERE redemption_id = '{last.json()['redemption_id']}'"
    )
    spoilt = {"two that were sold on one day": (earlier, {"benefits"})}
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"benefits"}), spoilt)


async def test_what_a_process_sold_whose_clock_is_ahead_counts_whoever_captures_it(bank: Bank) -> None:
    await put(bank, "hurried", price={"points": 1}, limit={"most": 1, "per": "day"}, stock=9)
    member = await bank.member(100)
    riyadh = datetime.now(UTC) + timedelta(hours=3)
    midnight = riyadh.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1, hours=-3)

    at(bank, midnight + 5 * MINUTE)  # an hour ahead: it is five minutes past eleven
    sold = await authorised(bank, member, reward="hurried")
    at(bank, midnight - 50 * MINUTE)
    assert (await capture(bank, sold)).status_code == 200
    at(bank, midnight + 10 * MINUTE)
    assert_problem(await bank.redeem(asks(member, reward="hurried")), 409, "reward_limit_reached")


def at(bank: Bank, moment: datetime) -> None:
    bank.runtime.clock = bank.runtime.writer.clock = lambda: moment


async def test_what_two_bought_who_became_one_person_is_of_each_and_its_books_are_whole(
    bank: Bank, settings: Settings
) -> None:
    await put(bank, "once", price={"points": 1}, limit={"most": 1, "per": "ever"})
    ended, heir, last = [await bank.member(100) for _ in range(3)]
    held = await authorised(bank, ended, reward="once")
    for one in (heir, last):
        assert (await bank.redeem(asks(one, reward="once"))).status_code == 201
    await merge(bank, ended, heir)
    assert (await capture(bank, held)).status_code == 200
    await merge(bank, heir, last)
    assert_problem(await bank.redeem(asks(last, reward="once")), 409, "reward_limit_reached")

    spoilt = {
        "a benefit of a wallet that did not buy it": (
            "UPDATE redeem.benefits SET wallet_id = member_id WHERE reward = 'once'",
            {"benefits"},
        )
    }
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"benefits"}), spoilt)


async def test_what_was_bought_of_an_earlier_version_counts_for_the_limit_of_the_next(
    bank: Bank, settings: Settings
) -> None:
    await put(bank, "fewer", price={"points": 1}, limit={"most": 2, "per": "month"})
    member = await bank.member(100)
    _, last = [await bank.redeem(asks(member, reward="fewer")) for _ in range(2)]
    assert last.status_code == 201
    await put(bank, "fewer", price={"points": 1}, limit={"most": 1, "per": "month"})
    assert_problem(await bank.redeem(asks(member, reward="fewer")), 409, "reward_limit_reached")

    spoilt = {
        "one that was sold of the next version, which lets a member have no more": (
            f"UPDATE redeem.benefits SET version = 2 WHERE redemption_id = '{last.json()['redemption_id']}'",
            {"benefits"},
        )
    }
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"benefits"}), spoilt)
