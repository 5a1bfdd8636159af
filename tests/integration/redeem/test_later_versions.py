"""A later release's members activates what this release's bank can't read: who asks is told to ask again, and others are served."""

from __future__ import annotations

import asyncio
import secrets

import httpx

from shared.programme.compiled import compile_programme
from tests.integration.redeem.conftest import Bank, asks
from tests.support.facts import activated
from tests.support.programmes import SHOPS


async def test_a_redemption_that_this_release_can_not_judge_may_be_asked_for_again(bank: Bank) -> None:
    redemption = {**SHOPS["redemption"], "later": "what the next release knows"}
    await bank.hear(activated("later", redemption=redemption))
    one, other = await bank.member(100, programme="later"), await bank.member(100)
    key, ask = secrets.token_hex(8), asks(one, programme="later", points=40)
    refused, sold = await asyncio.gather(bank.redeem(ask, key=key), bank.redeem(asks(other, points=30)))
    assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
    assert "/redemption/later: This field is not known." in refused.json()["detail"]
    assert (sold.status_code, sold.json()["redeemed"]["points"]) == (201, 30)
    assert (await bank.wallet(one.wallet_id))["available"] == 100
    # As a process of that release reads it.
    bank.runtime.cache["programme", "later", 1] = compile_programme(SHOPS, 1)
    answered = await bank.redeem(ask, key=key)
    assert (answered.status_code, answered.json()["redeemed"]["points"]) == (201, 40)
    assert (await bank.wallet(one.wallet_id))["available"] == 60


async def test_a_return_that_can_not_be_answered_gives_nothing_back(bank: Bank) -> None:
    await bank.hear(activated("back"))
    one = await bank.member(100, programme="back")
    sold = await bank.redeem(asks(one, programme="back", points=40))
    redemption = {**SHOPS["redemption"], "later": "what the next release knows"}
    await bank.hear(activated("back", version=2, redemption=redemption))
    key, path = secrets.token_hex(8), f"/v1/redemptions/{sold.json()['redemption_id']}/returns"
    ask = {"return_ref": "R-1", "points": 30}

    async def give_back() -> httpx.Response:
        return await bank.client.post(path, json=ask, headers=bank.headers("till", key))

    refused = await give_back()
    assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
    assert (await bank.wallet(one.wallet_id))["available"] == 60
    # As a process of that release reads it.
    bank.runtime.cache["programme", "back", 2] = compile_programme(SHOPS, 2)
    answered = await give_back()
    assert (answered.status_code, answered.json()["returned"]["points"]) == (201, 30)
    assert (await bank.wallet(one.wallet_id))["available"] == 90


async def test_a_version_that_ends_balances_and_can_not_be_read_keeps_nobody_of_other_programmes(
    bank: Bank,
) -> None:
    expiry = {"policy": "inactivity", "months": 12, "later": "what the next release knows"}
    await bank.hear(activated("silent", expiry=expiry))
    member, other = await bank.member(100), await bank.member(programme="silent")
    sold = await bank.redeem(asks(member, points=30))
    assert (sold.status_code, sold.json().get("code")) == (201, None)
    refused = await bank.redeem(asks(other, programme="silent", points=30))
    assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
