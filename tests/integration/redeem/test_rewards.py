"""Rewards: bought with points at the buyer's price, never more than there are, each benefit used once."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.redeem.domain.rewards import RedeemReward
from services.redeem.handlers import ON
from shared.config import Settings
from shared.db import connect
from shared.events import EventData, TierChanged, encode_event
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Refused
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, Member, accrued, asks, worth
from tests.support.facts import AT, activated
from tests.support.http import assert_problem
from tests.support.programmes import SHOPS
from tests.support.tenants import running

DAY = timedelta(days=1)
COFFEE: dict[str, Any] = {
    "programme": "shops",
    "kind": "product",
    "name": {"en": "A coffee", "ar": "قهوة"},
    "price": {"points": 40},
    "unit_cost_minor": 350,
}


async def put(bank: Bank, code: str, **changes: Any) -> httpx.Response:
    body = {name: value for name, value in {**COFFEE, **changes}.items() if value is not None}
    return await bank.client.put(f"/v1/rewards/{code}", json=body, headers=bank.headers("marketer"))


async def use(bank: Bank, code: str, **more: Any) -> httpx.Response:
    body = {"code": code, "merchant": "riyadh-mall", "terminal": "T01", **more}
    return await bank.client.post("/v1/benefits/use", json=body, headers=bank.headers("till"))


async def reaches(bank: Bank, member: Member, tier: str, *, until: datetime | None = None) -> None:
    told = TierChanged(
        wallet_id=member.wallet_id, member_id=member.member_id, programme="shops", programme_version=1, from_=None, to=tier,
        name={"en": tier}, benefits=(), metric="points", numbers={}, effective_at=AT, until=until,
    )  # fmt: skip
    assert type(await bank.runtime.lane.submit(_heard_with_envelope(told, bank))) is Done


def _heard_with_envelope(event: EventData, bank: Bank) -> Item[Any]:
    payload = encode_event(
        event, event_id=uuid7(), subject="wallet", time=AT, tenant=bank.code, request_id="test", sequence=next(_SEQUENCES)
    )  # fmt: skip
    return Item(event, FromJob("test"), request_id="test", actor="/tiers", payload=payload)


_SEQUENCES = iter(range(1, 10_000))


async def test_a_reward_may_be_called_as_an_address_beside_it(bank: Bank) -> None:
    assert (await put(bank, "affordable")).status_code == 201
    found = await bank.client.get(
        "/v1/rewards/affordable", params={"programme": "shops"}, headers=bank.headers("till")
    )
    assert found.json()["reward"] == "affordable"


@pytest.mark.parametrize("path", ["/v1/rewards", "/v1/rewards/coffee"])
async def test_rewards_of_a_programme_that_there_is_not_are_refused_by_its_name(
    bank: Bank, path: str
) -> None:
    answer = await bank.client.get(path, params={"programme": "nowhere"}, headers=bank.headers("till"))
    assert_problem(answer, 422, "programme_unknown")
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/programme"]


async def test_a_reward_is_bought_and_its_benefit_used_once(bank: Bank) -> None:
    made = await put(bank, "coffee", valid_days=30, stock=5)
    assert made.status_code == 201, made.text
    narrowed = bank.headers("marketer", merchant="riyadh-mall")
    assert_problem(
        await bank.client.put("/v1/rewards/coffee", json=COFFEE, headers=narrowed), 403, "scope_missing"
    )
    member = await bank.member(100)
    key = uuid7().hex
    answer = await bank.redeem(asks(member, reward="coffee"), key=key)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    benefit = body["benefit"]
    assert (body["redeemed"], body["balance"]["available"]) == (worth(40), worth(60))
    assert {name: benefit[name] for name in ("reward", "version", "kind", "name")} == {
        "reward": "coffee",
        "version": 1,
        "kind": "product",
        "name": COFFEE["name"],
    }
    # The end of the last of 30 days, in Riyadh.
    last = datetime.now(UTC) + timedelta(hours=3) + 30 * DAY
    assert benefit["expires_at"] == f"{last:%Y-%m-%d}T21:00:00Z"
    again = await bank.redeem(asks(member, reward="coffee"), key=key)
    assert (again.json(), again.headers["idempotent-replayed"]) == (body, "true")
    # The code is kept nowhere: neither where answers are kept, nor in an event, nor in the audit.
    for table, column in (("idempotency", "body"), ("outbox", "payload"), ("benefits", "code_hash")):
        kept = await bank.auditor.fetch(f"SELECT {column} FROM redeem.{table} WHERE {column} IS NOT NULL")
        assert kept
        assert not any(benefit["code"].encode() in row[0] for row in kept)

    code = benefit["code"].lower()
    grouped = f"{code[:4]}-{code[4:8]} {code[8:]}"
    looked = await bank.client.post(
        "/v1/benefits/validate", json={"code": grouped}, headers=bank.headers("till")
    )
    assert (looked.json()["usable"], looked.json()["status"]) == (True, "issued")
    used = await use(bank, grouped, bill_ref="B1")
    assert used.status_code == 200, used.text
    shown = used.json()
    assert (shown["status"], shown["merchant"], shown["bill_ref"], shown["unit_cost"]) == (
        "consumed",
        "riyadh-mall",
        "B1",
        {"amount_minor": 350, "currency": "SAR"},
    )
    assert_problem(await use(bank, grouped), 409, "benefit_consumed")
    seen = await bank.client.get(f"/v1/benefits/{benefit['benefit_id']}", headers=bank.headers("support"))
    assert seen.json() == shown
    told = await bank.told(benefit["benefit_id"])
    assert [(event["type"], event["sequence"]) for event in told] == [
        ("reward.issued.v1", "000000000001"),
        ("benefit.consumed.v1", "000000000002"),
    ]
    assert told[0]["data"]["redeemed"] == worth(40)
    assert told[1]["data"]["unit_cost"] == {"amount_minor": 350, "currency": "SAR"}
    notes = await bank.auditor.fetch(
        "SELECT action FROM redeem.audit WHERE object = $1 ORDER BY action",
        f"benefit/{benefit['benefit_id']}",
    )
    assert [note["action"] for note in notes] == ["benefit.issue", "benefit.use"]


async def test_a_tier_has_its_price_and_its_early_access(bank: Bank) -> None:
    soon = datetime.now(UTC) + DAY
    await put(
        bank,
        "concert",
        kind="experience",
        price={"money": {"amount_minor": 1005, "currency": "SAR"}},  # 100.5 points: 101
        tier_prices={"gold": {"points": 60}},
        windows=[{"tiers": ["gold"]}, {"since": soon.isoformat()}],
    )
    blue, gold, was_gold = await bank.member(200), await bank.member(200), await bank.member(200)
    await reaches(bank, gold, "gold", until=soon)
    await reaches(bank, was_gold, "gold", until=AT)
    for member in (blue, was_gold):
        assert_problem(await bank.redeem(asks(member, reward="concert")), 409, "reward_unavailable")
    bought = await bank.redeem(asks(gold, reward="concert"))
    assert bought.json()["redeemed"] == worth(60)
    await put(bank, "concert", kind="experience", price={"money": {"amount_minor": 1005, "currency": "SAR"}})
    assert (await bank.redeem(asks(blue, reward="concert"))).json()["redeemed"]["points"] == 101
    # What was issued keeps the version that it was bought under.
    seen = await bank.client.get(
        "/v1/rewards/concert", params={"programme": "shops"}, headers=bank.headers("till")
    )
    assert (seen.json()["version"], seen.json()["price"]) == (2, worth(101))
    assert bought.json()["benefit"]["version"] == 1


async def test_a_tier_that_the_programme_has_no_more_has_no_price_and_no_access(bank: Bank) -> None:
    early = {"windows": [{"tiers": ["gold"]}], "price": {"points": 50}}
    await put(bank, "preview", **early)
    await put(bank, "dinner", price={"points": 100}, tier_prices={"gold": {"points": 60}})
    gold = await bank.member(200)
    await reaches(bank, gold, "gold")
    asked = asks(gold, reward="dinner")
    quote: dict[str, Any] = {"json": asked, "headers": bank.headers("till")}
    said = (await bank.client.post("/v1/redemption-quotes", **quote)).json()
    assert said["redeemed"] == worth(60)
    ladder = [step for step in SHOPS["tiers"]["ladder"] if step["code"] != "gold"]
    await bank.hear(activated("shops", version=2, tiers={**SHOPS["tiers"], "ladder": ladder}))
    said = (await bank.client.post("/v1/redemption-quotes", **quote)).json()
    assert said["redeemed"] == worth(100)
    assert (await bank.redeem(asked)).json()["redeemed"] == worth(100)
    assert_problem(await bank.redeem(asks(gold, reward="preview")), 409, "reward_unavailable")


async def test_what_a_member_can_afford_is_told_without_an_identity_in_an_address(bank: Bank) -> None:
    await put(bank, "cheap", price={"points": 5}, limit={"most": 1, "per": "day"})
    await put(bank, "dear", price={"points": 500})
    await put(bank, "gone", price={"points": 6}, stock=0)
    await put(bank, "off", price={"points": 1}, active=False)
    member = await bank.member(20, 30)
    await bank.hear(accrued(member.wallet_id, 400, expires_at=datetime.now(UTC) - timedelta(seconds=1)))

    async def seen() -> dict[str, tuple[bool, int, str | None]]:
        answer = await bank.client.post(
            "/v1/rewards/affordable",
            json={"programme": "shops", "member": {"mobile": member.mobile}},
            headers=bank.headers("crm"),
        )
        assert answer.status_code == 200, answer.text
        items = answer.json()["items"]
        assert answer.json()["tier"] == "blue"
        assert [item["price"]["points"] for item in items] == sorted(
            item["price"]["points"] for item in items
        )
        return {item["reward"]: (item["affordable"], item["short_of"], item["refusal"]) for item in items}

    offered = await seen()
    assert "off" not in offered
    assert {name: offered[name] for name in ("cheap", "dear", "gone")} == {
        "cheap": (True, 0, None),
        "dear": (False, 450, "insufficient_points"),
        "gone": (False, 0, "reward_sold_out"),
    }
    assert (await bank.redeem(asks(member, reward="cheap"))).status_code == 201
    assert_problem(await bank.redeem(asks(member, reward="cheap")), 409, "reward_limit_reached")
    assert (await seen())["cheap"] == (False, 0, "reward_limit_reached")
    assert (await bank.wallet(member.wallet_id))["redeemed"] == 5
    block, why = f"/v1/wallets/{member.wallet_id}/block", {"reason": "fraud"}
    assert (await bank.client.post(block, json=why, headers=bank.headers("support"))).status_code == 200
    assert (await seen())["dear"] == (False, 455, "wallet_blocked")


async def test_the_same_key_fifty_at_once_buys_one(bank: Bank) -> None:
    await put(bank, "once", stock=50)
    member = await bank.member(1000)
    key = uuid7().hex
    answers = await asyncio.gather(*[bank.redeem(asks(member, reward="once"), key=key) for _ in range(50)])
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert (await bank.wallet(member.wallet_id))["redeemed"] == 40


async def test_two_processes_never_sell_more_than_there_are(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    """Past the lane of one process: batches that both found something left meet at the row of the stock."""
    await put(bank, "last", stock=3)
    members = [await bank.member(50) for _ in range(8)]
    async with running(settings, tenant, "redeem", ON) as other:
        lanes = [bank.runtime.lane, other.lane]
        outcomes = await asyncio.gather(
            *[lanes[k % 2].submit(_asked(member)) for k, member in enumerate(members)]
        )
    assert Counter(type(outcome) for outcome in outcomes) == {Done: 3, Refused: 5}


def _asked(member: Member) -> Item[RedeemReward]:
    command = RedeemReward(
        programme="shops", member_id=member.member_id, identity_kind=None, identity_hash=None, reward="last",
        merchant="riyadh-mall", terminal=None, cashier=None, channel=None, bill_ref=None,
    )  # fmt: skip
    return Item(command, FromJob("test"), request_id=uuid7().hex, actor="tester")


async def test_what_a_programme_lets_nobody_spend_buys_no_reward_either(bank: Bank) -> None:
    rules = {"consumption": "oldest_earned", "max_bill_share": "0.5", "minimum_points": 50}
    rules |= {"member_limits": [{"per": "day", "points": 75}], "step_points": 1}
    await bank.hear(activated("strict", redemption=rules))
    await put(bank, "coffee", programme="strict")
    member = await bank.member(100, programme="strict")
    asked = asks(member, programme="strict", reward="coffee")

    async def affordable() -> str | None:
        whose = {name: asked[name] for name in ("programme", "member")}
        listed = await bank.client.post("/v1/rewards/affordable", json=whose, headers=bank.headers("till"))
        refusal: str | None = listed.json()["items"][0]["refusal"]
        return refusal

    assert await affordable() is None
    # Neither the least that can be spent nor a share of a bill is asked of a reward; what a day allows is.
    assert (await bank.redeem(asked)).status_code == 201
    assert_problem(await bank.redeem(asked), 409, "period_limit_exceeded")
    assert await affordable() == "period_limit_exceeded"
    assert (await bank.wallet(member.wallet_id))["redeemed"] == 40
    only = activated("strict", version=2, redemption=rules | {"tiers": ["gold"]})
    await bank.hear(only)
    assert_problem(await bank.redeem(asked), 409, "tier_not_eligible")
    assert await affordable() == "tier_not_eligible"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"price": {"points": 5, "money": {"amount_minor": 5, "currency": "SAR"}}}, "field_unknown"),
        ({"price": {"money": {"amount_minor": 5, "currency": "USD"}}}, "currency_mismatch"),
        ({"programme": "unheard-of"}, "programme_unknown"),
        ({"tier_prices": {"diamond": {"points": 5}}}, "field_type"),
        ({"windows": [{"tiers": ["diamond"]}]}, "field_type"),
        ({"windows": [{"since": "2026-11-25T00:00:00Z", "until": "2026-11-24T00:00:00Z"}]}, "field_type"),
        ({"stock": -1}, "amount_out_of_range"),
    ],
)  # fmt: skip
async def test_a_reward_that_could_not_be_sold_is_refused(
    bank: Bank, changes: dict[str, Any], code: str
) -> None:
    assert_problem(await put(bank, "wrong", **changes), 422, code)
    assert await bank.auditor.fetchval("SELECT count(*) FROM redeem.rewards WHERE reward = 'wrong'") == 0


async def test_what_can_not_be_bought_or_used_is_refused_and_moves_nothing(
    bank: Bank, settings: Settings, tenant: Tenant
) -> None:
    await put(bank, "spent", price={"points": 40}, valid_days=0)
    member = await bank.member(45)
    assert_problem(await bank.redeem(asks(member, reward="nothing")), 422, "reward_unknown")
    assert_problem(await bank.redeem(asks(member, reward="spent", points=5)), 422, "field_unknown")
    bought = (await bank.redeem(asks(member, reward="spent"))).json()["benefit"]
    assert_problem(await bank.redeem(asks(member, reward="spent")), 409, "insufficient_points")
    assert (await bank.wallet(member.wallet_id))["available"] == 5
    assert_problem(await use(bank, "AAAA"), 422, "code_malformed")
    assert_problem(await use(bank, "A" * 16), 422, "code_malformed")
    assert_problem(await use(bank, bought["code"], merchant="nowhere"), 422, "merchant_unknown")
    assert_problem(await use(bank, bought["code"], terminal="T99"), 422, "terminal_unknown")
    db = await connect(settings.admin_dsn(), database=tenant.database)
    await db.execute(
        "UPDATE redeem.benefits SET expires_at = issued_at WHERE benefit_id = $1", bought["benefit_id"]
    )
    await db.close()
    assert_problem(await use(bank, bought["code"]), 409, "benefit_expired")
