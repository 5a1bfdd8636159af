"""A later release's members activates what this release's bank can't read: who asks is told to ask again, and others are served."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from services.redeem.domain.giftcards.acts import Swept
from services.redeem.jobs.benefits_due import issue, learn_job, run
from services.redeem.jobs.gift_card_sweeping import dry_run as look_at_gift_cards
from services.redeem.jobs.gift_card_sweeping import expire_gift_cards
from services.redeem.jobs.sweeping import dry_run, walk
from services.redeem.jobs.telling_expiry import tell_of_expiry
from services.redeem.store.gift_cards import would_expire
from shared.programme.compiled import compile_programme
from tests.integration.redeem.conftest import Bank, asks
from tests.integration.redeem.gift_cards import Cards
from tests.integration.redeem.test_expiring import expired
from tests.integration.redeem.test_rewards import put
from tests.support.facts import activated
from tests.support.gift_cards import GIFTS
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


async def test_an_end_of_balances_that_this_release_can_not_read_keeps_nobody_elsewhere_from_spending(
    bank: Bank,
) -> None:
    quiet = {"policy": "inactivity", "months": 12, "later": "what the next release knows"}
    other = await bank.member(100)
    await bank.hear(activated("quiet", expiry=quiet))
    one = await bank.member(programme="quiet")
    refused = await bank.redeem(asks(one, programme="quiet", points=40))
    assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
    sold = await bank.redeem(asks(other, points=30))
    assert sold.status_code == 201, sold.text
    more = await bank.member(7)
    assert [(await bank.wallet(who.wallet_id))["available"] for who in (other, more)] == [70, 7]
    balance = await bank.get(f"/v1/wallets/{one.wallet_id}/balance")
    assert (balance.status_code, balance.json()["code"]) == (503, "tenant_migrating")
    assert (await bank.get(f"/v1/wallets/{other.wallet_id}/balance")).status_code == 200


async def test_a_sweep_leaves_what_this_release_can_not_read_and_goes_on(bank: Bank) -> None:
    """A page of it holds points of every programme."""
    over = datetime.now(UTC) - timedelta(days=1)
    before = await bank.member(5, expires_at=over)
    await bank.hear(activated("swept", expiry={"policy": "never"}))
    one = await bank.member(60, programme="swept", expires_at=over)
    after = await bank.member(7, expires_at=over)
    redemption = {**SHOPS["redemption"], "later": "what the next release knows"}
    await bank.hear(activated("swept", 2, expiry={"policy": "never"}, redemption=redemption))
    assert [(code, one.points) for code, one in (await dry_run(bank.runtime)).items()] == [("shops", 12)]
    await walk(bank.runtime)
    await tell_of_expiry(bank.runtime)
    gone = [[points for points, _ in await expired(bank, who.wallet_id)] for who in (before, one, after)]
    assert gone == [[5], [], [7]]
    # As a process of that release reads it.
    readable = activated("swept", 2, expiry={"policy": "never"})
    bank.runtime.cache["programme", "swept", 2] = compile_programme(readable.document, 2)
    await walk(bank.runtime)
    assert [points for points, _ in await expired(bank, one.wallet_id)] == [60]


async def test_a_sweep_of_gift_cards_leaves_those_of_what_can_not_be_read_and_goes_on(bank: Bank) -> None:
    cards = Cards(bank)
    month = {
        code: {**GIFTS, "serial_prefix": prefix, "valid_months": 1}
        for code, prefix in (("boxed", "98711"), ("plain", "98712"))
    }
    for code, section in month.items():
        await bank.hear(activated(code, gift_cards=section))
    kept, gone = [await cards.sold(1_000, code) for code in month]
    redemption = {**SHOPS["redemption"], "later": "what the next release knows"}
    await bank.hear(activated("boxed", 2, gift_cards=month["boxed"], redemption=redemption))
    cards.passes(timedelta(days=40))
    due = {"plain": Swept("plain", "SAR", 1, 1_000)}
    assert await look_at_gift_cards(bank.runtime) == due
    assert await expire_gift_cards(bank.runtime) == due
    asked = await cards.use(kept, 100)
    assert (asked.status_code, asked.json()["code"]) == (503, "tenant_migrating")
    assert [await cards.buckets(one) for one in (kept, gone)] == [
        (-1_000, 1_000, 0, 0),
        (-1_000, 0, 0, 1_000),
    ]
    # As a process of that release reads it.
    readable = activated("boxed", 2, gift_cards=month["boxed"])
    bank.runtime.cache["programme", "boxed", 2] = compile_programme(readable.document, 2)
    assert await expire_gift_cards(bank.runtime) == {"boxed": Swept("boxed", "SAR", 1, 1_000)}


async def test_a_look_at_gift_cards_asks_once_for_what_counts_of_them(bank: Bank) -> None:
    cards = Cards(bank)
    await bank.hear(activated("looked", gift_cards={**GIFTS, "serial_prefix": "98713", "valid_months": 1}))
    for _ in range(3):
        await cards.sold(1_000, "looked")
    cards.passes(timedelta(days=40))
    asked: list[Any] = []
    async with bank.runtime.read() as db:
        with db.query_logger(asked.append):
            found, _ = await would_expire(db, bank.runtime.cache, None, cards.now(), most=100)
    assert found["looked"] == Swept("looked", "SAR", 3, 3_000)
    assert sum("FROM programmes" in one.query for one in asked) == 1


async def test_a_statement_tells_of_a_programme_that_can_not_be_read_and_of_the_others(bank: Bank) -> None:
    """What it says of it no version changes."""
    for programme, points in (("stated", 40), ("beside", 30)):
        await bank.hear(activated(programme))
        member = await bank.member(100, programme=programme)
        assert (await bank.redeem(asks(member, programme=programme, points=points))).status_code == 201
    redemption = {**SHOPS["redemption"], "later": "what the next release knows"}
    await bank.hear(activated("stated", 2, redemption=redemption))
    today = f"{datetime.now(ZoneInfo('Asia/Riyadh')):%Y-%m-%d}"

    async def captured(**query: str) -> dict[str, int]:
        shown = await bank.client.get(
            "/v1/merchants/riyadh-mall/statements",
            params={"day": today, **query},
            headers=bank.headers("finance"),
        )
        assert shown.status_code == 200, shown.text
        return {one["programme"]: one["total"]["captured"]["points"] for one in shown.json()["items"]}

    assert await captured(programme="stated") == {"stated": 40}
    every = await captured()
    assert (every["stated"], every["beside"]) == (40, 30)


async def test_points_come_and_others_are_issued_rewards_though_a_programme_can_not_be_read(
    bank: Bank,
) -> None:
    await bank.hear(activated("given"))
    await bank.member(5000, programme="given")
    await bank.member(5000)
    for programme in ("given", "shops"):
        await put(bank, "mug", issues_at={"points": 5000, "of": "balance"}, programme=programme)
    redemption = {**SHOPS["redemption"], "later": "what the next release knows"}
    await bank.hear(activated("given", 2, redemption=redemption))
    assert (await run(bank.runtime, dry_run=True)).issued == 1
    assert await issue(bank.runtime) == 1
    await learn_job(bank.runtime)
    passing = await bank.member(5000, programme="given")
    assert (await bank.wallet(passing.wallet_id))["available"] == 5000
    # As a process of that release reads it.
    bank.runtime.cache["programme", "given", 2] = compile_programme(activated("given", 2).document, 2)
    assert await issue(bank.runtime) == 2
