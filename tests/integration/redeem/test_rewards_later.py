"""Rewards that are quoted, set aside, captured, voided, released and returned: points and stock always together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any
from uuid import UUID

from services.redeem.handlers import ON
from services.redeem.jobs.releasing import release_reservations
from shared.config import Settings
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, asks
from tests.integration.redeem.test_authorisations import authorised, buckets, capture, overdue, post, void
from tests.integration.redeem.test_returns import give_back
from tests.integration.redeem.test_rewards import put, use
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.http import assert_problem
from tests.support.tenants import running

NAMES = frozenset(
    {"rewards:held", "rewards:stock", "benefits", "benefits:told", "benefits:liability", "redemptions"}
)


async def stock(bank: Bank, reward: str) -> tuple[int, int]:
    row = await bank.auditor.fetchrow("SELECT issued, held FROM redeem.rewards WHERE reward = $1", reward)
    assert row is not None
    return row["issued"], row["held"]


async def test_a_reward_is_set_aside_with_its_points_and_ends_with_them(
    bank: Bank, settings: Settings
) -> None:
    await put(bank, "seat", stock=2, limit={"most": 2, "per": "ever"})
    member = await bank.member(200)
    said = (await post(bank, "redemption-quotes", _quote(member, "seat"))).json()
    assert (said["redeemed"]["points"], said["refusal"], sum(one["points"] for one in said["takes"])) == (
        40,
        None,
        40,
    )

    one, two = [await authorised(bank, member, reward="seat") for _ in range(2)]
    assert (one["reserved"]["points"], await stock(bank, "seat")) == (40, (0, 2))
    assert await buckets(bank, member) == (120, 80, 0, 0)
    other = await bank.member(100)
    assert_problem(await bank.redeem(asks(other, reward="seat")), 409, "reward_sold_out")
    assert_problem(await put(bank, "seat", stock=1), 422, "amount_out_of_range")
    refused = (await post(bank, "redemption-quotes", _quote(other, "seat"))).json()
    assert (refused["refusal"]["code"], refused["redeemed"]["points"], refused["takes"]) == (
        "reward_sold_out",
        40,
        [],
    )
    # What is set aside counts towards a member's limit.
    await put(bank, "seat", stock=9, limit={"most": 2, "per": "ever"})
    assert_problem(
        await bank.redeem(asks(member, reward="seat", capture="later")), 409, "reward_limit_reached"
    )

    # Captured whole, by its code, once; the benefit is as of the version that was sold.
    await put(bank, "seat", stock=9, price={"points": 1}, unit_cost_minor=1)
    assert_problem(await capture(bank, one, {"points": 20}), 422, "amount_out_of_range")
    body = {"code": one["code"], "merchant": "riyadh-mall"}
    used = await post(bank, "redemption-codes/use", body, key="once-and-again")
    assert used.status_code == 200, used.text
    again = await post(bank, "redemption-codes/use", body, key="once-and-again")
    assert again.json() == used.json()
    benefit = used.json()["benefit"]
    assert (used.json()["redeemed"]["points"], benefit["version"], await stock(bank, "seat")) == (
        40,
        1,
        (1, 1),
    )
    assert (await use(bank, benefit["code"])).json()["unit_cost"]["amount_minor"] == 350

    # Voided: points and stock go back; and so at the end of its time.
    assert (await void(bank, two)).json()["voided"]["points"] == 40
    three = await authorised(bank, member, reward="seat")
    await overdue(bank, three)
    assert (await stock(bank, "seat"))[1] == 1
    await release_reservations(bank.runtime)
    assert (await stock(bank, "seat"), await buckets(bank, member)) == ((1, 0), (160, 0, 40, 0))

    kept = await authorised(bank, member, reward="seat")
    some = UUID(kept["redemption_id"])
    spoilt: dict[str, tuple[str, set[str]]] = {
        "a stock that forgot what is set aside": (
            "UPDATE redeem.rewards SET held = 0 WHERE held > 0",
            {"rewards:stock"},
        ),
        "a hold that ended by itself": (
            f"UPDATE redeem.reward_holds SET state = 'given_back' WHERE redemption_id = '{some}'",
            {"rewards:held", "rewards:stock"},
        ),
        "a hold that was issued to nobody": (
            f"UPDATE redeem.reward_holds SET state = 'issued' WHERE redemption_id = '{some}'",
            {"rewards:held"},
        ),
        "a benefit of another version than was held": (
            "UPDATE redeem.reward_holds SET version = version + 1 WHERE state = 'issued'",
            {"rewards:held"},
        ),
        "a use that was none": (
            "UPDATE redeem.benefits SET withdrawn_at = consumed_at, consumed_at = NULL, merchant = NULL WHERE reward = 'seat'",
            {"benefits:told"},
        ),
    }
    await assert_whole_until_spoilt(settings, bank.code, NAMES, spoilt)


async def test_a_reward_is_returned_whole_unless_it_was_used(bank: Bank, settings: Settings) -> None:
    await put(bank, "cup", stock=3, restock=True, limit={"most": 1, "per": "ever"})
    await put(bank, "tray", stock=3)
    member = await bank.member(200)
    one = (await bank.redeem(asks(member, reward="cup"))).json()
    assert_problem(await give_back(bank, one["redemption_id"], points=10), 409, "reward_not_returnable")
    back = await give_back(bank, one["redemption_id"], return_ref="CUP-1", all=True)
    assert (back.status_code, back.json()["returned"]["points"]) == (201, 40)
    again = await give_back(bank, one["redemption_id"], return_ref="CUP-1", all=True)
    assert (again.status_code, again.json()) == (200, back.json())
    assert_problem(await give_back(bank, one["redemption_id"], all=True), 409, "benefit_withdrawn")
    assert_problem(await use(bank, one["benefit"]["code"]), 409, "benefit_withdrawn")
    # It is on stock again, and no longer the one that the member may have.
    assert await stock(bank, "cup") == (0, 0)
    assert (await bank.redeem(asks(member, reward="cup"))).status_code == 201
    # Not on stock again where the reward does not say so; one that was set aside first is returned the same.
    two = await authorised(bank, member, reward="tray")
    await capture(bank, two)
    assert (await give_back(bank, two["redemption_id"], all=True)).status_code == 201
    assert await stock(bank, "tray") == (1, 0)
    three = (await bank.redeem(asks(member, reward="tray"))).json()
    await use(bank, three["benefit"]["code"])
    assert_problem(await give_back(bank, three["redemption_id"], all=True), 409, "benefit_consumed")
    told = [one["type"] for one in await bank.told(one["benefit"]["benefit_id"])]
    assert told == ["reward.issued.v1", "benefit.withdrawn.v1"]

    # Used and returned at once: one of the two.
    members = await asyncio.gather(*[bank.member(40) for _ in range(12)])
    bought = [(await bank.redeem(asks(one, reward="raced"))).json() for one in members if await _raced(bank)]
    ends = await asyncio.gather(
        *[use(bank, one["benefit"]["code"]) for one in bought],
        *[give_back(bank, one["redemption_id"], all=True) for one in bought],
    )
    for k in range(12):
        assert sorted([ends[k].status_code == 200, ends[k + 12].status_code == 201]) == [False, True]

    spoilt = {
        "a reward that was taken back, and not all of its points came": (
            f"UPDATE redeem.redemptions SET returned_points = 39 WHERE redemption_id = '{one['redemption_id']}'",
            {"benefits"},
        ),
        "a reward that is on stock again, which its version does not say": (
            "UPDATE redeem.benefits SET restocked = true WHERE reward = 'tray' AND withdrawn_at IS NOT NULL",
            {"benefits"},
        ),
        "a reward that is not on stock again, though its version says so": (
            "UPDATE redeem.benefits SET restocked = false WHERE reward = 'cup' AND withdrawn_at IS NOT NULL",
            {"benefits"},
        ),
    }
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"benefits"}), spoilt)


async def _raced(bank: Bank) -> bool:
    return (await put(bank, "raced")).status_code in {200, 201}


async def test_capture_void_and_release_race_in_two_processes_and_the_stock_follows(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await put(bank, "race", stock=24)
    members = await asyncio.gather(*[bank.member(40) for _ in range(24)])
    held = [await authorised(bank, member, reward="race") for member in members]
    async with running(settings, tenant, "redeem", ON) as other:
        acts: list[Awaitable[Any]] = []
        for k, one in enumerate(held):
            if k % 4 == 0:
                await overdue(bank, one)
            acts += [capture(bank, one), void(bank, one), release_reservations(other)]
        await asyncio.gather(*acts)
    captured = await bank.auditor.fetchval(
        "SELECT count(*) FROM redeem.reservations WHERE ended = 'captured' AND redemption_id = ANY($1::text[]::uuid[])",
        [one["redemption_id"] for one in held],
    )
    benefits = await bank.auditor.fetchval("SELECT count(*) FROM redeem.benefits WHERE reward = 'race'")
    assert (await stock(bank, "race"), benefits) == ((captured, 0), captured)
    assert captured <= 18


async def test_ten_on_stock_are_sold_to_ten_of_two_hundred_at_once_or_later(
    bank: Bank, settings: Settings
) -> None:
    await put(bank, "ten", stock=10)
    members = await asyncio.gather(*[bank.member(40) for _ in range(200)])
    # Too few to buy all ten: whoever comes first, at least four are set aside.
    at_once = {0, 3, 7, 30, 90, 150}
    answers = await asyncio.gather(
        *[
            bank.redeem(asks(member, reward="ten", capture="now" if k in at_once else "later"))
            for k, member in enumerate(members)
        ]
    )
    assert Counter(answer.status_code for answer in answers) == {201: 10, 409: 190}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"reward_sold_out"}
    assert sum(await stock(bank, "ten")) == 10
    made = [(members[k], answer.json()) for k, answer in enumerate(answers) if answer.status_code == 201]
    later = [(member, body) for member, body in made if body["status"] == "authorised"]
    assert len(later) >= 4
    # None is left: what was set aside is captured all the same.
    assert (await capture(bank, later.pop()[1])).status_code == 200
    # While those that were set aside are captured or voided, others buy what comes back.
    ends = [capture(bank, body) if k % 3 else void(bank, body) for k, (_, body) in enumerate(later)]
    again = [member for member, answer in zip(members, answers, strict=True) if answer.status_code == 409][
        :20
    ]
    ended, _ = await asyncio.gather(
        asyncio.gather(*ends), asyncio.gather(*[bank.redeem(asks(member, reward="ten")) for member in again])
    )
    assert {answer.status_code for answer in ended} == {200}
    issued, held = await stock(bank, "ten")
    assert (held, issued <= 10) == (0, True)
    await asyncio.gather(*[bank.redeem(asks(member, reward="ten")) for member in again])
    assert await stock(bank, "ten") == (10, 0)
    assert await bank.auditor.fetchval("SELECT count(*) FROM redeem.benefits WHERE reward = 'ten'") == 10
    assert_problem(await put(bank, "ten", stock=9), 422, "amount_out_of_range")

    await assert_whole_until_spoilt(settings, bank.code, NAMES, {})


def _quote(member: Any, reward: str) -> dict[str, Any]:
    return asks(member, reward=reward)
