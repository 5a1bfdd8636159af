"""Gift cards: issued with a PIN that is told once, loaded at settlement, spent in parts, given back to, and expired."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from pointbank.jobs.gift_cards import expire_tenant
from pointbank.verify import Report
from pointbank.verify.books import Books
from pointbank.verify.database import Snapshot
from pointbank.verify.events import decode_data, decode_envelope
from pointbank.verify.messaging.streams import heads
from pointbank.verify.spending.gift_cards import CHANGED, TOLD, GiftCards
from pointbank.verify.walks import check_all
from services.redeem.domain.giftcards.acts import ExpireCards, Look, Place, RefundUse, Tried, Use
from services.redeem.handlers import ON
from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Outcome, Refused
from shared.money import Money
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank
from tests.integration.redeem.gift_cards import NOBODYS, Cards, wrong
from tests.support.facts import activated
from tests.support.gift_cards import GIFTS, sar
from tests.support.http import assert_problem
from tests.support.tenants import running


@pytest_asyncio.fixture(loop_scope="module")
async def cards(bank: Bank) -> Cards:
    await bank.hear(activated("gifts", gift_cards=GIFTS))
    return Cards(bank)


def asks(command: Any) -> Item[Any]:
    return Item(command, FromJob("test"), request_id=uuid7().hex, actor="tester")


async def test_a_card_is_sold_pays_a_bill_in_part_and_is_good_again_after_a_refund(cards: Cards) -> None:
    card = await cards.issued(10_000)
    assert (card["status"], card["balance"], card["expires_at"]) == ("issued", sar(0), None)
    assert (len(card["serial"]), card["serial"][:6], len(card["pin"])) == (19, "987012", 6)
    assert_problem(await cards.use(card, 100), 409, "gift_card_not_active")

    place = {"serial": card["serial"], "merchant": "riyadh-mall", "terminal": "T01", "bill_ref": "SALE-1"}
    sold = (await cards.post("/activate", place)).json()
    # 24 months on, to the end of that day in Riyadh.
    today = (datetime.now(UTC) + timedelta(hours=3)).date()
    day = today.replace(year=today.year + 2, day=min(today.day, 28) if today.month == 2 else today.day)
    assert sold["expires_at"] == f"{day}T21:00:00Z"
    assert (sold["status"], sold["balance"]) == ("active", sar(10_000))
    assert_problem(await cards.post("/activate", place), 409, "gift_card_active")

    first = (await cards.use(card, 3_000, bill_ref="B1")).json()
    assert {name: first[name] for name in ("status", "applied", "balance_after", "change")} == {
        "status": "partially_used",
        "applied": sar(3_000),
        "balance_after": sar(7_000),
        "change": sar(0),
    }
    assert_problem(await cards.use(card, 9_000, partial=False), 409, "gift_card_insufficient")
    # Split tender: the card pays what it has, the till takes the rest another way.
    key = uuid7().hex
    split = await cards.use(card, 9_000, key=key)
    again = await cards.use(card, 9_000, key=key)
    assert (again.json(), again.headers["idempotent-replayed"]) == (split.json(), "true")
    assert [split.json()[name] for name in ("status", "applied", "balance_after", "change")] == [
        "used",
        sar(7_000),
        sar(0),
        sar(2_000),
    ]
    assert_problem(await cards.use(card, 1), 409, "gift_card_insufficient")

    # Refunds of one use are a total, and never come to more than it took.
    use_id = split.json()["use_id"]
    back = await cards.refund(use_id, "R1", 2_500)
    assert (back.status_code, back.json()["status"]) == (201, "partially_used")
    same = await cards.refund(use_id, "R1", 2_500)
    assert (same.status_code, same.json()) == (200, back.json())
    assert_problem(await cards.refund(use_id, "R1", 2_400), 409, "refund_conflict")
    assert_problem(await cards.refund(use_id, "R2", 4_501), 409, "return_too_much")
    assert_problem(await cards.refund(use_id, "R3", 1, merchant="jeddah"), 404, "not_found")
    rest = (await cards.refund(use_id, "R4")).json()
    assert (rest["applied"], rest["refunded_in_all"], rest["balance_after"]) == (
        sar(4_500),
        sar(7_000),
        sar(7_000),
    )
    assert_problem(await cards.refund(use_id, "R5"), 409, "return_too_much")
    assert (await cards.balance(card)).json()["balance"] == sar(7_000)
    reload = {"serial": card["serial"], "amount": sar(500), "merchant": "riyadh-mall"}
    assert (await cards.post("/reload", reload)).json()["balance"] == sar(7_500)
    assert await cards.buckets(card) == (-10_500, 7_500, 3_000, 0)

    told = await cards.bank.told(card["card_id"])
    kinds = ("issued", "activated", "used", "used", "refunded", "refunded", "reloaded")
    assert [event["type"] for event in told] == [f"gift_card.{kind}.v1" for kind in kinds]
    assert [int(event["sequence"]) for event in told] == list(range(1, 8))
    assert (told[2]["data"]["moved"], told[2]["data"]["merchant"]) == (sar(3_000), "riyadh-mall")
    assert told[2]["data"]["serial_end"] == card["serial"][-4:]
    shown = await cards.bank.client.get(
        f"/v1/gift-cards/{card['card_id']}/lines?limit=4", headers=cards.bank.headers("support")
    )
    lines = shown.json()["items"]
    assert [(line["seq"], line["kind"], line["balance_after"]["amount_minor"]) for line in lines] == [
        (6, "reload", 7_500),
        (5, "refund", 7_000),
        (4, "refund", 2_500),
        (3, "use", 0),
    ]
    assert shown.json()["next_cursor"] is not None
    noted = await cards.bank.auditor.fetch(
        "SELECT action, after::text FROM redeem.audit WHERE object = $1", f"gift_card/{card['card_id']}"
    )
    assert Counter(row["action"] for row in noted)["gift_card.use"] == 2
    issued = [json.loads(row["after"]) for row in noted if row["action"] == "gift_card.issue"]
    assert issued == [{"programme": "gifts", "serial_end": card["serial"][-4:], "amount_minor": 10_000}]
    assert not any(card["serial"] in (row["after"] or "") for row in noted)


async def test_a_pin_is_told_once_and_stands_nowhere(cards: Cards, capfd: pytest.CaptureFixture[str]) -> None:
    body = {"programme": "gifts", "amount": sar(5_000), "count": 2}
    first = await cards.post("", body, "ecommerce", key="batch-1")
    again = await cards.post("", body, "ecommerce", key="batch-1")
    made, repeated = first.json()["gift_cards"], again.json()["gift_cards"]
    assert again.headers["idempotent-replayed"] == "true"
    assert [card["card_id"] for card in made] == [card["card_id"] for card in repeated]
    assert [card["pin"] for card in repeated] == [None, None]

    lost, card = made
    renewed = await cards.post(f"/{lost['card_id']}/pin", None, "ecommerce", key="pin-1")
    assert (await cards.post(f"/{lost['card_id']}/pin", None, "ecommerce", key="pin-1")).json()["pin"] is None
    place = {"merchant": "riyadh-mall"}
    for one in made:
        assert (await cards.post("/activate", {"serial": one["serial"], **place})).status_code == 200
    pins = {lost["pin"], card["pin"], renewed.json()["pin"], wrong(card)}
    assert (await cards.balance({**lost, "pin": renewed.json()["pin"]})).status_code == 200
    assert_problem(await cards.balance(card, wrong(card)), 422, "pin_wrong")
    assert (await cards.use(card, 700, key="use-1")).status_code == 201
    assert_problem(await cards.post(f"/{lost['card_id']}/pin", None, "ecommerce"), 409, "gift_card_active")
    malformed = {"serial": card["serial"], "pin": f"{card['pin']}0"}
    assert_problem(await cards.post("/balance", malformed), 422, "field_type")

    # Wherever something is kept: every column of every table of every service, and what was logged.
    db = await cards.bank.administrator()
    try:
        tables = await db.fetch(
            "SELECT schemaname || '.' || tablename FROM pg_tables "
            "WHERE schemaname IN ('members', 'earn', 'redeem', 'tiers', 'notifier')"
        )
        kept = ""
        for [table] in tables:
            for [row] in await db.fetch(f"SELECT to_jsonb(t)::text FROM {table} AS t"):
                kept += row
                for text in json.loads(row).values():  # bytes: event payloads, kept answers
                    if isinstance(text, str) and text.startswith("\\x"):
                        kept += bytes.fromhex(text[2:]).decode("utf-8", "replace")
        hashes = await db.fetch("SELECT key, request_hash FROM redeem.idempotency")
    finally:
        await db.close()
    said = "".join(capfd.readouterr())
    assert card["card_id"] in kept
    assert '"route":"/v1/gift-cards/use"' in said
    for pin in pins:
        found = [kept[at - 60 : at + 10] for at in _places(kept, pin)]
        # Six digits also stand in moments and ids by chance: never by themselves.
        assert [text for text in found if not _is_chance(text, pin)] == []
        assert f'"{pin}"' not in said
    # Nor can it be found by trying all: what tells a repeat from a reuse is not a plain hash of the body.
    asked = {"serial": card["serial"], "pin": card["pin"], "amount": sar(700), "merchant": "riyadh-mall"}
    canonical = msgspec.json.encode(asked, order="deterministic")
    plain = msgspec.msgpack.encode(("POST /v1/gift-cards/use", {}, (), canonical), order="deterministic")
    [stored] = [row["request_hash"] for row in hashes if row["key"] == "use-1"]
    assert stored != hashlib.sha256(plain).digest()


def _places(text: str, part: str) -> list[int]:
    found, at = [], text.find(part)
    while at >= 0:
        found.append(at)
        at = text.find(part, at + 1)
    return found


def _is_chance(text: str, pin: str) -> bool:
    before, after = text[59:60], text[60 + len(pin) : 61 + len(pin)]
    return before.isalnum() or after.isalnum() or (before == "." and "T" in text)


async def test_fifty_guesses_at_once_get_three_answers_and_the_right_pin_none_after_them(
    cards: Cards,
) -> None:
    card = await cards.sold()
    kept = (await cards.row(card))["pin_hash"]
    lane = cards.bank.runtime.lane
    guesses = [asks(Look(serial=card["serial"], tried=Tried(kept, right=False))) for _ in range(50)]
    outcomes = await asyncio.gather(*[lane.submit(one) for one in guesses])
    assert _codes(outcomes) == {"pin_wrong": 3, "gift_card_locked": 47}
    assert_problem(await cards.use(card, 100), 409, "gift_card_locked")
    assert await cards.buckets(card) == (-10_000, 10_000, 0, 0)
    told = [event["type"] for event in await cards.bank.told(card["card_id"])]
    assert told == ["gift_card.issued.v1", "gift_card.activated.v1", "gift_card.locked.v1"]
    # The same call again is no further guess; a lock that is over leaves as many attempts as before.
    cards.passes(timedelta(minutes=30))
    body = {"serial": card["serial"], "pin": wrong(card), "amount": sar(1), "merchant": "riyadh-mall"}
    for _ in range(4):
        assert_problem(await cards.post("/use", body, key="guess"), 422, "pin_wrong")
    assert ((await cards.row(card))["wrong_pins"], (await cards.row(card))["locked_until"]) == (1, None)
    assert (await cards.use(card, 100)).status_code == 201
    assert (await cards.row(card))["wrong_pins"] == 0
    # A look may be repeated, too: whoever lost the answer, or whose library sends it again by itself, guessed once.
    for replayed in (None, "true", "true"):
        look = await cards.post("/balance", {"serial": card["serial"], "pin": wrong(card)}, key="look")
        assert_problem(look, 422, "pin_wrong")
        assert look.headers.get("idempotent-replayed") == replayed
    assert (await cards.row(card))["wrong_pins"] == 1
    other = await cards.post("/balance", {"serial": card["serial"], "pin": card["pin"]}, key="look")
    assert_problem(other, 422, "idempotency_key_reused")
    headers = cards.bank.headers("till")
    del headers["Idempotency-Key"]
    right = {"serial": card["serial"], "pin": card["pin"]}
    looked = await cards.bank.client.post("/v1/gift-cards/balance", json=right, headers=headers)
    assert (looked.status_code, (await cards.row(card))["wrong_pins"]) == (200, 0)
    # A serial that nobody has is answered as a wrong PIN is.
    nobody = {**card, "serial": NOBODYS}
    assert (await cards.balance(nobody)).json()["detail"] == (await cards.balance(card, wrong(card))).json()[
        "detail"
    ]
    unlocked = await cards.post(f"/{card['card_id']}/unblock", {"reason": "it was me"}, "support")
    assert unlocked.status_code == 200


def _codes(outcomes: list[Outcome]) -> dict[str, int]:
    return Counter(one.refusal.code if isinstance(one, Refused) else "done" for one in outcomes)


async def test_a_pin_that_was_checked_against_an_older_hash_is_checked_again(cards: Cards) -> None:
    """Between the check and the decision the card may get another PIN: neither the old one's yes nor its no counts."""
    card = await cards.issued()
    kept = (await cards.row(card))["pin_hash"]
    assert (await cards.post(f"/{card['card_id']}/pin", None, "ecommerce")).status_code == 200
    for right in (True, False):
        outcome = await cards.bank.runtime.lane.submit(
            asks(Look(serial=card["serial"], tried=Tried(kept, right=right)))
        )
        assert isinstance(outcome, Refused)
        assert not outcome.refusal.frozen
    assert (await cards.row(card))["wrong_pins"] == 0


async def test_sixty_four_at_once_take_from_a_card_what_is_on_it(
    cards: Cards, settings: Settings, tenant: Tenant
) -> None:
    card = await cards.sold(10_000)
    kept = (await cards.row(card))["pin_hash"]

    def pay(amount: int) -> Item[Use]:
        return asks(
            Use(serial=card["serial"], tried=Tried(kept, right=True), amount=Money(amount, "SAR"), partial=True,
                place=Place(merchant="riyadh-mall"))
        )  # fmt: skip

    async with running(settings, tenant, "redeem", ON, clock=cards.now) as other:
        lanes = [cards.bank.runtime.lane, other.lane]
        outcomes = await asyncio.gather(*[lanes[k % 2].submit(pay(300)) for k in range(64)])
        # 33 whole ones, and one of what was left.
        assert _codes(outcomes) == {"done": 34, "gift_card_insufficient": 30}
        applied = [msgspec.json.decode(one.body) for one in outcomes if isinstance(one, Done)]
        assert Counter(one["applied"]["amount_minor"] for one in applied) == {300: 33, 100: 1}
        assert await cards.buckets(card) == (-10_000, 0, 10_000, 0)
        await _refunds_race_uses(cards, lanes, card, applied, pay)
        await _expiry_races_uses(cards, lanes, pay, card)


async def _refunds_race_uses(
    cards: Cards, lanes: list[Any], card: dict[str, Any], applied: list[Any], pay: Any
) -> None:
    """Each use is given back twice at once, under two references, while others spend what came back."""
    backs = [
        asks(
            RefundUse(
                use_id=UUID(one["use_id"]), refund_ref=f"{one['use_id']}-{n}", amount=None, merchant=None
            )
        )
        for one in applied[:10]
        for n in range(2)
    ]
    work = [item for back in backs for item in (back, pay(200))]
    outcomes = await asyncio.gather(*[lanes[k // 2 % 2].submit(item) for k, item in enumerate(work)])
    assert _codes(outcomes[::2]) == {"done": 10, "return_too_much": 10}
    returned = sum(one["applied"]["amount_minor"] for one in applied[:10])
    spent = sum(
        msgspec.json.decode(one.body)["applied"]["amount_minor"]
        for one in outcomes[1::2]
        if isinstance(one, Done)
    )
    assert await cards.buckets(card) == (-10_000, returned - spent, 10_000 - returned + spent, 0)


async def _expiry_races_uses(cards: Cards, lanes: list[Any], pay: Any, card: dict[str, Any]) -> None:
    """At the end of its time a card pays or expires, and never both with the same money."""
    reload = {"serial": card["serial"], "amount": sar(5_000), "merchant": "riyadh-mall"}
    assert (await cards.post("/reload", reload)).status_code == 200
    before = await cards.buckets(card)
    ends = datetime.fromisoformat(card["expires_at"])
    cards.passes(ends - cards.now() - timedelta(milliseconds=40))

    async def later(k: int) -> Outcome:
        await asyncio.sleep(0.004 * k)
        sweep = asks(ExpireCards(card_ids=(UUID(card["card_id"]),)))
        outcome: Outcome = await lanes[k % 2].submit(sweep if k % 3 == 0 else pay(100))
        return outcome

    outcomes = await asyncio.gather(*[later(k) for k in range(30)])
    paid = sum(
        msgspec.json.decode(one.body)["applied"]["amount_minor"]
        for k, one in enumerate(outcomes)
        if k % 3 and isinstance(one, Done)
    )
    assert _codes(outcomes)["gift_card_expired"] > 0
    assert await cards.buckets(card) == (before[0], 0, before[2] + paid, before[1] - paid)
    assert_problem(await cards.refund(await _a_use(cards, card), "LATE"), 409, "gift_card_expired")


async def _a_use(cards: Cards, card: dict[str, Any]) -> str:
    use_id = await cards.bank.auditor.fetchval(
        "SELECT use_id FROM redeem.gift_card_uses WHERE card_id = $1 AND refunded_minor = 0 LIMIT 1",
        UUID(card["card_id"]),
    )
    return str(use_id)


async def test_what_is_left_expires_once_by_http_and_command_as_the_dry_run_said(
    cards: Cards, settings: Settings
) -> None:
    bank = cards.bank
    await bank.hear(activated("brief", gift_cards={**GIFTS, "serial_prefix": "98702", "valid_months": 1}))
    left = [await cards.sold(1_000, "brief") for _ in range(3)]
    spent = await cards.sold(1_000, "brief")
    await cards.use(spent, 1_000)
    cards.passes(timedelta(days=32))
    gone = (await cards.balance(left[0])).json()
    pin = {"pin": left[0]["pin"]}
    assert {**gone, **pin} == {**left[0], "status": "expired", "balance": sar(0), "expired": sar(1_000)}
    owed = await bank.client.get("/v1/gift-cards/liability?programme=brief", headers=bank.headers("finance"))
    assert {name: owed.json()[name] for name in ("outstanding", "loaded", "used", "expired", "cards_open")} == {
        "outstanding": sar(0), "loaded": sar(4_000), "used": sar(1_000), "expired": sar(3_000), "cards_open": 0,
    }  # fmt: skip
    due = {"programme": "brief", "currency": "SAR", "gift_cards": 3, "amount_minor": 3_000}
    looked = await cards.post("/expiry-runs", {"dry_run": True}, "operator")
    assert looked.json() == {"dry_run": True, "swept": [due], "next_cursor": None}
    step = await cards.post("/expiry-runs", {"step": 1}, "operator")
    assert step.json()["swept"] == [{**due, "gift_cards": 1, "amount_minor": 1_000}]
    assert step.json()["next_cursor"] is not None
    only_looked = await expire_tenant(settings, bank.code, only_look=True, clock=cards.now)
    swept = await expire_tenant(settings, bank.code, only_look=False, clock=cards.now)
    assert [msgspec.to_builtins(one) for one in swept] == [{**due, "gift_cards": 2, "amount_minor": 2_000}]
    assert only_looked == swept
    assert await expire_tenant(settings, bank.code, only_look=False, clock=cards.now) == []
    assert [await cards.buckets(card) for card in left] == [(-1_000, 0, 0, 1_000)] * 3
    told = (await bank.told(left[0]["card_id"]))[-1]
    assert (told["type"], told["data"]["moved"], told["data"]["status"]) == (
        "gift_card.expired.v1",
        sar(1_000),
        "expired",
    )
    assert_problem(await cards.use(left[0], 100), 409, "gift_card_expired")


async def test_what_can_not_be_done_with_a_card_is_refused_and_moves_nothing(cards: Cards) -> None:
    bank = cards.bank
    await bank.hear(
        activated("plain"),
        activated(
            "strict", gift_cards={**GIFTS, "serial_prefix": "98703", "refundable": False, "reloadable": False}
        ),
    )
    whole = {"programme": "gifts", "amount": sar(1_000)}
    for changes, status, code in (
        ({"programme": "unheard-of"}, 422, "programme_unknown"),
        ({"programme": "plain"}, 409, "gift_card_not_offered"),
        ({"amount": sar(150)}, 422, "amount_out_of_range"),
        ({"amount": {"amount_minor": 100, "currency": "USD"}}, 422, "currency_mismatch"),
        ({"count": 101}, 422, "amount_out_of_range"),
    ):
        assert_problem(await cards.post("", {**whole, **changes}, "ecommerce"), status, code)
    assert_problem(await cards.post("", whole, "till"), 403, "scope_missing")
    assert_problem(await cards.post("", whole, "ecommerce", merchant="riyadh-mall"), 403, "scope_missing")

    card, strict = await cards.issued(), await cards.sold(1_000, "strict")
    at = {"serial": card["serial"], "merchant": "riyadh-mall"}
    misread = card["serial"][:-1] + str((int(card["serial"][-1]) + 1) % 10)
    for body, status, code in (
        ({**at, "serial": misread}, 422, "card_check_digit"),
        ({**at, "serial": NOBODYS}, 422, "gift_card_unknown"),
        ({**at, "merchant": "nowhere"}, 422, "merchant_unknown"),
        ({**at, "terminal": "T99"}, 422, "terminal_unknown"),
    ):
        assert_problem(await cards.post("/activate", body), status, code)
    assert_problem(await cards.post("/activate", at, merchant="jeddah"), 403, "scope_missing")
    assert_problem(await cards.post(f"/{card['card_id']}/void", {"reason": "x"}), 403, "scope_missing")
    blocked = await cards.post(f"/{card['card_id']}/block", {"reason": "stolen"}, "support")
    assert blocked.json()["blocked"] is True
    assert_problem(await cards.post("/activate", at), 409, "gift_card_blocked")
    assert (
        await cards.post(f"/{card['card_id']}/unblock", {"reason": "found"}, "support")
    ).status_code == 200
    assert (await cards.post(f"/{card['card_id']}/void", {"reason": "torn"}, "marketer")).json()[
        "status"
    ] == "voided"
    assert_problem(await cards.post("/activate", at), 409, "gift_card_voided")
    assert_problem(await cards.use(card, 100), 409, "gift_card_voided")

    used = (await cards.use(strict, 400)).json()
    assert_problem(await cards.refund(used["use_id"], "S1"), 409, "gift_card_not_refundable")
    more = {"serial": strict["serial"], "amount": sar(500), "merchant": "riyadh-mall"}
    assert_problem(await cards.post("/reload", more), 409, "gift_card_not_reloadable")
    assert_problem(await cards.use(strict, 0), 422, "amount_out_of_range")
    assert_problem(
        await cards.post(f"/{strict['card_id']}/void", {"reason": "late"}, "marketer"),
        409,
        "gift_card_active",
    )
    assert await cards.buckets(strict) == (-1_000, 600, 400, 0)
    # A version without gift cards issues none; those that there are stay good, as the version says that they were issued under.
    await bank.hear(activated("strict", 2))
    assert_problem(
        await cards.post("", {"programme": "strict", "amount": sar(1_000)}, "ecommerce"),
        409,
        "gift_card_not_offered",
    )
    assert (await cards.use(strict, 600)).json()["status"] == "used"


OURS = {
    "gift_cards:chain", "gift_cards:balances", "gift_cards:uses", "gift_cards:terms", "gift_cards:once", "gift_cards:refunds",
    "gift_cards:told", "sequence:redeem",
}  # fmt: skip
NOT_ALLOWED = """
UPDATE earn.programmes SET document = jsonb_set(document::jsonb, ARRAY['gift_cards', '{0}'], 'false')::json
WHERE document -> 'gift_cards' IS NOT NULL
"""
SPOILT = {
    "a balance that was put up": (
        "UPDATE redeem.gift_cards SET balance = balance + 5, issued = issued - 5 WHERE balance > 0",
        {"gift_cards:balances"},
    ),
    "a line of more": (
        "UPDATE redeem.gift_card_lines SET amount_minor = amount_minor + 1 WHERE kind = 'use'",
        {"gift_cards:chain", "gift_cards:balances", "gift_cards:uses", "gift_cards:once", "gift_cards:told"},
    ),
    "a cut tail": (
        """
        DELETE FROM redeem.gift_card_lines AS l USING redeem.gift_cards AS c
        WHERE l.card_id = c.card_id AND l.seq = c.seq AND c.used > 0
        """,
        {"gift_cards:chain", "gift_cards:balances", "gift_cards:once", "gift_cards:told"},
    ),
    "a head that is another's": (
        "UPDATE redeem.gift_cards SET head = sha256('x') WHERE seq > 0",
        {"gift_cards:chain"},
    ),
    "a key that is gone": (
        "DELETE FROM redeem.gift_card_postings WHERE kind = 'expire'",
        {"gift_cards:once"},
    ),
    "a refund that gave back more than was asked for": (
        "UPDATE redeem.gift_card_uses SET refunded_minor = refunded_minor - 1 WHERE refunded_minor > 0",
        {"gift_cards:uses"},
    ),
    "a refund that is gone": (
        "DELETE FROM redeem.gift_card_refunds",
        {"gift_cards:refunds", "gift_cards:uses"},
    ),
    "a use that is gone": (
        "DELETE FROM redeem.gift_card_uses WHERE refunded_minor = 0",
        {"gift_cards:uses", "gift_cards:told"},
    ),
    "a card that lives longer": (
        "UPDATE redeem.gift_cards SET expires_at = expires_at + interval '1 day' WHERE seq > 0",
        {"gift_cards:terms"},
    ),
    "a PIN that is kept as it is": (
        "UPDATE redeem.gift_cards SET pin_hash = '123456'",
        {"gift_cards:terms"},
    ),
    "a serial with another digit": (
        "UPDATE redeem.gift_cards SET serial = overlay(serial PLACING '1' FROM 12)",
        {"gift_cards:terms"},
    ),
    "a card that was issued in silence": (
        """
        INSERT INTO redeem.gift_cards (
            card_id, serial, programme, programme_version, amount_minor, pin_hash, issued_at, event_sequence
        )
        SELECT gen_random_uuid(), 'x' || serial, programme, programme_version, amount_minor, pin_hash, issued_at, 1
        FROM redeem.gift_cards WHERE seq = 0 LIMIT 1
        """,
        {"gift_cards:told"},
    ),
    "a void that nobody was told of": (
        "UPDATE redeem.gift_cards SET status = 'voided' WHERE status = 'issued'",
        {"gift_cards:told"},
    ),
    "a use at another moment": (
        "UPDATE redeem.gift_card_uses SET used_at = used_at + interval '1 minute'",
        {"gift_cards:uses"},
    ),
    "a refund under the reference of another merchant": (
        "UPDATE redeem.gift_card_refunds SET merchant = 'elsewhere'",
        {"gift_cards:uses"},
    ),
    "money that was loaded again where nobody may": (
        NOT_ALLOWED.format("reloadable"),
        {"gift_cards:terms"},
    ),
    "money that was given back where nobody may": (
        NOT_ALLOWED.format("refundable"),
        {"gift_cards:terms"},
    ),
    "a lock that has no cause": (
        "UPDATE redeem.gift_cards SET locked_until = now(), wrong_pins = 1",
        {"gift_cards:terms"},
    ),
}  # fmt: skip


async def test_the_oracle_replays_every_card_and_finds_each_spoilt_book(
    cards: Cards, settings: Settings
) -> None:
    card, _, torn = await cards.sold(2_000), await cards.issued(), await cards.issued()
    await cards.post(f"/{torn['card_id']}/void", {"reason": "torn"}, "marketer")
    used = (await cards.use(card, 1_500)).json()
    await cards.refund(used["use_id"], f"O-{used['use_id']}", 700)
    await cards.use(card, 100)
    more = {"serial": card["serial"], "amount": sar(500), "merchant": "riyadh-mall"}
    assert (await cards.post("/reload", more)).status_code == 200
    await cards.bank.hear(
        activated("short", gift_cards={**GIFTS, "serial_prefix": "98704", "valid_months": 1})
    )
    await cards.sold(300, "short")
    cards.passes(timedelta(days=33))
    await expire_tenant(settings, cards.bank.code, only_look=False, clock=cards.now)
    db = await cards.bank.administrator()
    outer = db.transaction()
    await outer.start()
    try:
        await db.execute(UNGUARDED)
        # What earn would know of the programmes: the oracle reads them there.
        await db.execute(
            "INSERT INTO earn.programmes (programme, version, document, activated_at)"
            " SELECT programme, version, document::text::json, activated_at FROM redeem.programmes"
        )
        whole = await report_on(settings, cards.bank.code, db)
        assert {check.name: check.examples for check in whole.broken if check.name in OURS} == {}
        assert {check.name for check in whole if check.compared} >= OURS
        for name, (sql, found) in SPOILT.items():
            transaction = db.transaction()
            await transaction.start()
            await db.execute("SET LOCAL session_replication_role = replica")
            done = await db.execute(sql)
            assert not done.endswith(" 0"), name
            assert found <= await differing(cards.bank.code, db), name
            await transaction.rollback()
    finally:
        await outer.rollback()
        await db.close()


UNGUARDED = """
ALTER TABLE redeem.gift_cards
DROP CONSTRAINT gift_cards_pin_is_bcrypt, DROP CONSTRAINT gift_cards_serial_has_19_digits, DROP CONSTRAINT gift_cards_serial_once;
ALTER TABLE redeem.gift_card_lines DROP CONSTRAINT gift_card_lines_balances_hold
"""
"""Somebody who spoils books is not held back by a CHECK."""


async def report_on(settings: Settings, tenant: str, db: Any) -> Report:
    report = Report(tenant)
    redis = Redis.from_url(settings.redis_url)
    try:
        copies = await heads(redis, settings.cell, tenant)
        await check_all(report, Snapshot(db), redis, copies, journal=None, progress=lambda _: None)
    finally:
        await redis.aclose()
    return report


async def differing(tenant: str, db: Any) -> set[str]:
    """The checks of gift cards alone, over the books as they are now: those that are broken."""
    report = Report(tenant)
    books = Books(tenant, Snapshot(db), report, lambda _: None)
    await books.load()
    gifts = GiftCards(books)
    for [payload] in await db.fetch("SELECT payload FROM redeem.outbox"):
        envelope = decode_envelope(payload)
        if envelope.type in CHANGED:
            gifts.on_changed(None, envelope, decode_data[envelope.type](envelope.data))
        elif envelope.type in TOLD.values():
            gifts.on_moved(None, envelope, decode_data[envelope.type](envelope.data))
    await gifts.walk()
    return {check.name for check in report.broken} | {
        name for name, matching in books.matchings.items() if not matching.close()
    }
