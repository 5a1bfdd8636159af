"""Gift cards that points buy: worth what they say at once, issued once, taken back only while unused."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import httpx
import pytest_asyncio

from services.redeem.api.gift_card_shapes import GiftCardLinesOut
from services.redeem.domain.codes import benefit_code
from shared.config import Settings
from shared.ids import uuid7
from tests.integration.redeem.conftest import Bank, Member, asks
from tests.integration.redeem.gift_cards import Cards
from tests.integration.redeem.test_returns import give_back
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import activated
from tests.support.gift_cards import GIFTS, sar
from tests.support.http import assert_problem

CARD: dict[str, Any] = {
    "programme": "gifts",
    "kind": "gift_card",
    "name": {"en": "A gift card"},
    "price": {"points": 40},
    "loads": sar(5_000),
    "restock": True,
}


@pytest_asyncio.fixture(loop_scope="module")
async def cards(bank: Bank) -> Cards:
    await bank.hear(activated("gifts", gift_cards=GIFTS))
    return Cards(bank)


async def put(bank: Bank, code: str = "card", **changes: Any) -> httpx.Response:
    body = {name: value for name, value in {**CARD, **changes}.items() if value is not None}
    return await bank.client.put(f"/v1/rewards/{code}", json=body, headers=bank.headers("marketer"))


async def buy(bank: Bank, member: Member, *, key: str | None = None, **more: Any) -> httpx.Response:
    return await bank.redeem(asks(member, programme="gifts", reward="card", **more), key=key)


async def stock(bank: Bank) -> tuple[int, int]:
    row = await bank.auditor.fetchrow("SELECT issued, supplied FROM redeem.rewards WHERE reward = 'card'")
    assert row is not None
    return row["issued"], row["supplied"]


async def test_points_buy_a_card_that_pays_at_once_and_is_issued_once(bank: Bank, cards: Cards) -> None:
    assert (await put(bank, stock=3)).status_code == 201
    member, key = await bank.member(100, programme="gifts"), uuid7().hex
    first = await buy(bank, member, key=key)
    assert first.status_code == 201, first.text
    body, card = first.json(), first.json()["gift_card"]
    assert (card["status"], card["balance"], card["used"], len(card["pin"])) == (
        "active",
        sar(5_000),
        sar(0),
        6,
    )
    assert (body["balance"]["available"]["points"], "code" in body["benefit"]) == (60, False)
    again = (await buy(bank, member, key=key)).json()
    assert (again["gift_card"].pop("pin"), again["redemption_id"]) == (None, body["redemption_id"])
    assert again["gift_card"] == {name: value for name, value in card.items() if name != "pin"}
    kept = await bank.auditor.fetchval(
        "SELECT string_agg(convert_from(body, 'UTF8'), '') FROM redeem.idempotency"
    )
    assert "gift_card" in kept
    assert json.dumps(card["pin"]) not in kept
    told = [event["type"] for event in await bank.told(UUID(card["card_id"]))]
    assert told == ["gift_card.issued.v1", "gift_card.activated.v1"]
    owed = await bank.client.get(
        "/v1/gift-cards/liability", params={"programme": "gifts"}, headers=bank.headers("finance")
    )
    assert owed.json()["outstanding"] == sar(5_000)

    # What was used is not taken back; what was not is, and the card is good for nothing then.
    assert (await cards.use(card, 1_000)).status_code == 201
    used = await give_back(bank, body["redemption_id"], all=True)
    assert_problem(used, 409, "reward_not_returnable")
    other = (await buy(bank, member)).json()
    assert await stock(bank) == (2, 3)
    back = await give_back(bank, other["redemption_id"], all=True)
    assert (back.status_code, back.json()["balance"]["available"]["points"]) == (201, 60)
    assert_problem(await cards.use(other["gift_card"], 1), 409, "gift_card_voided")
    assert await cards.buckets(other["gift_card"]) == (0, 0, 0, 0)
    assert await stock(bank) == (1, 3)
    told = [event["type"] for event in await bank.told(UUID(other["gift_card"]["card_id"]))]
    assert told[-1] == "gift_card.cancelled.v1"
    path = f"/v1/gift-cards/{other['gift_card']['card_id']}/lines"
    lines = (await bank.client.get(path, headers=bank.headers("support"))).json()
    assert [line.kind for line in GiftCardLinesOut.model_validate(lines).items] == ["cancel", "activate"]
    third = (await buy(bank, member)).json()
    assert (
        await cards.post(f"/{third['gift_card']['card_id']}/block", {"reason": "stolen"}, "support")
    ).status_code == 200
    assert_problem(await give_back(bank, third["redemption_id"], all=True), 409, "gift_card_blocked")


async def test_a_card_is_used_or_taken_back_and_no_more_are_sold_than_there_are(
    bank: Bank, cards: Cards
) -> None:
    issued = (
        (await stock(bank))[0] if await bank.auditor.fetchval("SELECT count(*) FROM redeem.rewards") else 0
    )
    await put(bank, stock=issued + 3)
    members = [await bank.member(40, programme="gifts") for _ in range(6)]
    answers = await asyncio.gather(*[buy(bank, member) for member in members])
    assert sorted(one.status_code for one in answers) == [201] * 3 + [409] * 3
    bought = [one.json() for one in answers if one.status_code == 201]
    for one in bought:
        paid, back = await asyncio.gather(
            cards.use(one["gift_card"], 5_000), give_back(bank, one["redemption_id"], all=True)
        )
        assert sorted((paid.status_code, back.status_code)) == [201, 409], (paid.text, back.text)
        assert (await cards.buckets(one["gift_card"])) == (
            (-5_000, 0, 5_000, 0) if paid.is_success else (0, 0, 0, 0)
        )
        wallet = await bank.wallet(UUID(one["wallet_id"]))
        assert wallet["available"] == (0 if paid.is_success else 40)


async def test_a_card_that_points_bought_is_no_benefit_with_a_code_and_is_returned_all_the_same(
    bank: Bank, cards: Cards, settings: Settings
) -> None:
    issued = await bank.auditor.fetchval("SELECT coalesce(max(issued), 0) FROM redeem.rewards")
    await put(bank, stock=issued + 1)
    member = await bank.member(40, programme="gifts")
    bought = (await buy(bank, member)).json()
    benefit_id = bought["benefit"]["benefit_id"]
    none = await bank.client.get(f"/v1/benefits/{benefit_id}/code", headers=bank.headers("till"))
    problem = assert_problem(none, 404, "not_found")
    assert (
        problem["detail"] == "This benefit is a gift card: it is used by its serial and PIN, and has no code."
    )
    # What its code would be was told before it was none.
    code = benefit_code(bank.runtime.tenant.identity_key, UUID(benefit_id))
    for act, body in (("validate", {"code": code}), ("use", {"code": code, "merchant": "riyadh-mall"})):
        asked = await bank.client.post(f"/v1/benefits/{act}", json=body, headers=bank.headers("till"))
        assert_problem(asked, 422, "benefit_unknown")
    shown = await bank.client.get(f"/v1/benefits/{benefit_id}", headers=bank.headers("support"))
    assert (shown.json()["status"], await cards.buckets(bought["gift_card"])) == (
        "issued",
        (-5_000, 5_000, 0, 0),
    )
    back = await give_back(bank, bought["redemption_id"], all=True)
    assert (back.status_code, back.json()["balance"]["available"]["points"]) == (201, 40)
    assert await cards.buckets(bought["gift_card"]) == (0, 0, 0, 0)
    other = (await buy(bank, member)).json()["benefit"]["benefit_id"]
    used = f"UPDATE redeem.benefits SET consumed_at = now(), merchant = 'riyadh-mall' WHERE benefit_id = '{other}'"
    spoilt = {"a card that was used by a code": (used, {"benefits"})}
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"benefits", "rewards:stock"}), spoilt)


async def test_what_is_no_gift_card_is_refused_where_it_is_put_and_bought(bank: Bank, cards: Cards) -> None:
    for changes, code in (
        ({"loads": None}, "field_missing"),
        ({"kind": "voucher"}, "field_unknown"),
        ({"unit_cost_minor": 5}, "field_unknown"),
        ({"valid_days": 5}, "field_unknown"),
        ({"loads": {"amount_minor": 5_000, "currency": "KWD"}}, "currency_mismatch"),
        ({"loads": sar(150)}, "amount_out_of_range"),
    ):
        assert_problem(await put(bank, "odd", **changes), 422, code)
    assert_problem(await put(bank, "odd", programme="shops"), 409, "gift_card_not_offered")
    await put(bank)
    member = await bank.member(40, programme="gifts")
    assert_problem(await buy(bank, member, capture="later"), 409, "reward_unavailable")
    assert (await bank.wallet(member.wallet_id))["available"] == 40
