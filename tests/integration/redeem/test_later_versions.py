"""A later release's members activates what this release's bank can't read: who asks is told to ask again, and others are served."""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from services.redeem.domain.giftcards.acts import Swept
from services.redeem.jobs.benefits_due import issue, lapse, learn_job, run
from services.redeem.jobs.gift_card_sweeping import expire_gift_cards
from services.redeem.jobs.releasing import BEGIN, Released, release_reservations, release_step
from services.redeem.jobs.sweeping import dry_run, walk
from services.redeem.jobs.telling_expiry import tell_of_expiry
from services.redeem.store.gift_cards import would_expire
from services.redeem.store.sql import statements
from shared.db import Connection
from shared.programme.compiled import compile_programme
from shared.programme.validation import UnreadVersion
from tests.integration.redeem.conftest import Bank, asks
from tests.integration.redeem.gift_cards import Cards
from tests.integration.redeem.test_authorisations import authorised, buckets, capture, overdue, void
from tests.integration.redeem.test_expiring import expired
from tests.integration.redeem.test_giving import answers, asked, back
from tests.integration.redeem.test_returns import give_back
from tests.integration.redeem.test_rewards import put, use
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


async def test_gift_cards_expire_beside_one_of_a_programme_that_can_not_be_read(bank: Bank) -> None:
    """A page of that sweep, too, holds cards of every programme."""
    cards, brief = Cards(bank), {**GIFTS, "valid_months": 1}
    for code, prefix in (("briefly", "98711"), ("presents", "98712")):
        await bank.hear(activated(code, gift_cards={**brief, "serial_prefix": prefix}))
    before, one, after = [await cards.sold(1_000, code) for code in ("briefly", "presents", "briefly")]
    redemption = {**SHOPS["redemption"], "later": "what the next release knows"}
    sections = {"gift_cards": {**brief, "serial_prefix": "98712"}}
    await bank.hear(activated("presents", 2, **sections, redemption=redemption))
    refused = await cards.use(one, 100)
    assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
    cards.passes(timedelta(days=32))
    looked = await cards.post("/expiry-runs", {"dry_run": True}, "operator")
    due = {"programme": "briefly", "currency": "SAR", "gift_cards": 2, "amount_minor": 2_000}
    assert looked.json() == {"dry_run": True, "swept": [due], "next_cursor": None}
    await expire_gift_cards(bank.runtime)
    assert [(await cards.buckets(card))[3] for card in (before, one, after)] == [1_000, 0, 1_000]
    # As a process of that release reads it.
    readable = compile_programme(activated("presents", 2, **sections).document, 2)
    bank.runtime.cache["programme", "presents", 2] = readable
    await expire_gift_cards(bank.runtime)
    assert (await cards.buckets(one))[3] == 1_000


async def test_reservations_end_beside_one_of_a_programme_that_can_not_be_read(bank: Bank) -> None:
    await bank.hear(activated("aside"))
    one, other, last = [await bank.member(100, programme=code) for code in ("aside", "shops", "shops")]
    for member, code in ((one, "aside"), (other, "shops"), (last, "shops")):
        await overdue(bank, await authorised(bank, member, programme=code, points=40))
    redemption = {**SHOPS["redemption"], "later": "what the next release knows"}
    await bank.hear(activated("aside", 2, redemption=redemption))
    would = await release_reservations(bank.runtime, dry_run=True)
    assert [(of.programme, of.reservations) for of in would.programmes] == [("shops", 2)]
    total, place, now = Released(False), BEGIN, bank.runtime.clock()
    while (following := await release_step(bank.runtime, total, place, now, most=1)) is not None:
        place = following
    assert [(of.programme, of.reservations) for of in total.programmes] == [("shops", 2)]
    assert [(await buckets(bank, who))[:2] for who in (one, other, last)] == [(60, 40), (100, 0), (100, 0)]
    # As a process of that release reads it.
    bank.runtime.cache["programme", "aside", 2] = compile_programme(activated("aside", 2).document, 2)
    assert (await release_reservations(bank.runtime)).reservations == 1
    assert (await buckets(bank, one))[:2] == (100, 0)


async def rewrites(bank: Bank, reward: str, *, version: int = 1, **later: Any) -> None:
    """The reward's version is one that a process of the later release put, or (nothing given) one that this release can read."""
    text = json.dumps(later) if later else '{"kind": "product"}'
    db = await bank.administrator()
    try:
        await db.execute("SET session_replication_role = replica")
        await db.execute(
            "UPDATE redeem.reward_versions SET document = ((document::jsonb - 'later') || $2::jsonb)::json "
            "WHERE (reward, version) = ($1, $3)",
            reward,
            text,
            version,
        )
    finally:
        await db.close()


LATER: list[dict[str, Any]] = [{"kind": "tree"}, {"later": "what the next release knows"}]


@pytest.mark.parametrize("later", LATER, ids=["a kind", "a field"])
async def test_a_reward_that_this_release_can_not_read_is_left_to_one_that_can(
    bank: Bank, later: dict[str, Any]
) -> None:
    name = f"oak-{secrets.token_hex(3)}"
    await put(bank, name, issues_at={"points": 7000, "of": "balance"})
    await put(bank, f"{name}-too", issues_at={"points": 7000, "of": "balance"})
    await learn_job(bank.runtime)
    await rewrites(bank, name, **later)
    member = await bank.member(7000)
    assert (await bank.wallet(member.wallet_id))["available"] == 7000
    sold = await bank.redeem(asks(member, reward=name))
    assert (sold.status_code, sold.json()["code"]) == (503, "tenant_migrating")
    assert f"of the reward {name} of shops says what this release does not know" in sold.json()["detail"]
    ask = asked(member, name)
    with pytest.raises(UnreadVersion):
        await bank.outcomes(ask)
    assert await bank.told(ask.effect_id) == []
    await learn_job(bank.runtime)  # another reward is learned all the same
    await issue(bank.runtime)

    async def given(like: str) -> list[tuple[str, str]]:
        found = "SELECT reward, origin FROM redeem.benefits WHERE wallet_id = $1 AND reward LIKE $2 ORDER BY origin"
        return [tuple(one) for one in await bank.auditor.fetch(found, member.wallet_id, like)]

    assert await given(f"{name}%") == [(f"{name}-too", "threshold")]
    # As a process of that release reads it.
    await rewrites(bank, name)
    await bank.hear(ask)
    await issue(bank.runtime)
    assert (await bank.redeem(asks(member, reward=name))).status_code == 201
    assert await given(name) == [(name, "asked"), (name, "redemption"), (name, "threshold")]


@pytest.mark.parametrize("later", LATER, ids=["a kind", "a field"])
async def test_a_benefit_of_a_reward_that_this_release_can_not_read_ends_all_the_same(
    bank: Bank, later: dict[str, Any]
) -> None:
    name, member = f"elm-{secrets.token_hex(3)}", await bank.member(7000)
    await put(bank, name, price={"points": 10}, valid_days=1)
    await put(bank, f"{name}-too", price={"points": 10}, valid_days=1)
    bought = [
        (await bank.redeem(asks(member, reward=reward))).json()["benefit"]
        for reward in (name, name, f"{name}-too")
    ]
    await rewrites(bank, name, **later)
    used = await use(bank, bought[0]["code"])
    assert (used.status_code, used.json()["kind"]) == (200, later.get("kind", "product"))
    bank.passes(timedelta(days=3))
    assert await lapse(bank.runtime) == 2
    [*_, told] = await bank.told(bought[1]["benefit_id"])
    assert (told["type"], told["data"]["kind"]) == ("benefit.expired.v1", later.get("kind", "product"))


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


@pytest.mark.parametrize("later", LATER, ids=["a kind", "a field"])
async def test_what_came_of_a_reward_that_this_release_can_not_read_is_taken_back_all_the_same(
    bank: Bank, later: dict[str, Any]
) -> None:
    """What was bought is returned with its points, and what earn asked for is asked back; both are on stock again."""
    name, member = f"ash-{secrets.token_hex(3)}", await bank.member(100)
    await put(bank, name, price={"points": 10}, stock=5, restock=True)
    await put(bank, f"{name}-too", price={"points": 10}, stock=5, restock=True)
    bought = (await bank.redeem(asks(member, reward=name))).json()
    ask, other = asked(member, name), asked(member, f"{name}-too")
    await bank.hear(ask)
    await rewrites(bank, name, **later)
    returned = await give_back(bank, bought["redemption_id"], all=True, return_ref=f"R-{name}")
    assert (returned.status_code, returned.json()["returned"]["points"]) == (201, 10), returned.text
    taken = back(ask)
    await bank.hear(taken, other)
    assert await answers(bank, taken, other) == [("withdrawn", None), ("issued", None)]
    found = "SELECT reward, issued FROM redeem.rewards WHERE reward LIKE $1 ORDER BY reward"
    stocks = [tuple(one) for one in await bank.auditor.fetch(found, f"{name}%")]
    assert stocks == [(name, 0), (f"{name}-too", 1)]
    assert (await bank.wallet(member.wallet_id))["available"] == 100


@pytest.mark.parametrize("later", LATER, ids=["a kind", "a field"])
async def test_what_was_set_aside_of_a_reward_that_this_release_can_not_read_goes_back_all_the_same(
    bank: Bank, later: dict[str, Any]
) -> None:
    """By the version that can't be read, or by one before it; only to issue it takes a process that can."""
    name, member = f"fir-{secrets.token_hex(3)}", await bank.member(100)
    await put(bank, name, price={"points": 10}, stock=5)
    before = await authorised(bank, member, reward=name)
    await put(bank, name, price={"points": 20}, stock=5)
    over, voided, captured = [await authorised(bank, member, reward=name) for _ in range(3)]
    await rewrites(bank, name, version=2, **later)
    for one in (before, over):
        await overdue(bank, one)
    assert (await release_reservations(bank.runtime, dry_run=True)).reservations == 2
    assert (await release_reservations(bank.runtime)).reservations == 2
    assert (await void(bank, voided)).status_code == 200

    async def stock() -> list[tuple[int, ...]]:
        found = "SELECT issued, held FROM redeem.rewards WHERE reward = $1"
        return [tuple(one) for one in await bank.auditor.fetch(found, name)]

    assert await stock() == [(0, 1)]
    assert (await buckets(bank, member))[:2] == (80, 20)
    refused = await capture(bank, captured)
    assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
    assert (await buckets(bank, member))[:2] == (80, 20)
    # As a process of that release reads it.
    await rewrites(bank, name, version=2)
    assert (await capture(bank, captured)).status_code == 200
    assert await stock() == [(1, 0)]


async def test_a_statement_reads_one_version_of_each_programme_however_many_there_are(bank: Bank) -> None:
    head = {"programme": {"currency": "SAR", "time_zone": "Asia/Riyadh"}, "text": secrets.token_hex(50_000)}
    ask = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statements.texts()['programmes']}"

    async def pages(db: Connection) -> int:
        [shown] = json.loads(await db.fetchval(ask, None))
        return int(shown["Plan"]["Shared Hit Blocks"] + shown["Plan"]["Shared Read Blocks"])

    async with bank.runtime.read() as reader:
        path = await reader.fetchval("SHOW search_path")
    db = await bank.administrator()
    whole = db.transaction()
    await whole.start()
    try:
        await db.execute(f"SET LOCAL search_path = {path}")
        versions = "INSERT INTO programmes SELECT 'often', n, $1::jsonb, now() FROM generate_series($2::int, $3::int) AS n"
        await db.execute(versions, json.dumps(head), 1, 1)
        one = await pages(db)
        await db.execute(versions, json.dumps(head), 2, 101)
        assert await pages(db) < one + 20
    finally:
        await whole.rollback()
        await db.close()
