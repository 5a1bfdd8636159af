"""A token of one merchant: each operation of the interface is refused to it, is narrowed to its merchant's, or is no merchant's.

What an operation says of itself (`x-one-merchant`) is tried: a new one that is narrowed has a call here, one that is alike for all
has its reason in docs/security.md, and any other is refused.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import httpx
import pytest

from tests.gate.bodies import NOTHING
from tests.gate.holdings import MALL, Holdings, now, said
from tests.support.caller import DOCUMENT, PUBLISHED, Caller
from tests.support.gift_cards import sar
from tests.support.processes import Fleet

PORT = "jeddah-corniche"
WHY = {"reason": "odd"}
DECLARED = {
    f"{method.upper()} {path}": operation["x-one-merchant"]
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}

COUNTED = """
    INSERT INTO redeem.stock_counts (programme, reward, day, location, on_hand, recorded_at)
    VALUES ('shops', 'mug', '2026-03-01', 'riyadh-mall', 4, now()), ('shops', 'mug', '2026-03-02', 'riyadh-mall/T03', 3, now());
    INSERT INTO redeem.reconciliation_differences (difference_id, kind, subject, expected, found, first_seen, last_seen)
    VALUES
        (gen_random_uuid(), 'stock', 'stock/shops/mug/riyadh-mall', 'used 1', 'used 2', now(), now()),
        (gen_random_uuid(), 'stock', 'stock/shops/mug/riyadh-mall/T03', 'used 1', 'used 2', now(), now()),
        (gen_random_uuid(), 'stock', 'stock/shops/mug', 'on hand 1', 'on hand 2', now(), now());
"""


class Mall(NamedTuple):
    """What a tenant has at one merchant; a token of that merchant, and one of another."""

    things: Holdings
    ours: Caller
    theirs: Caller


@pytest.fixture(scope="module")
def mall(fleet: Fleet, victim: Holdings) -> Iterator[Mall]:
    tenant, member = victim.town.tenant, {"card_number": victim.ids["card_number"]}
    act = {
        "act": "survey",
        "act_ref": "at-the-mall",
        "occurred_at": now(),
        "member": member,
        "merchant": MALL,
    }
    victim.ids["act_id"] = victim.made("POST", "/v1/acts", act)["act_id"]
    used = {"code": victim.ids["benefit_code"], "merchant": MALL, "terminal": "T03", "bill_ref": "a-bill"}
    victim.made("POST", "/v1/benefits/use", used)
    asyncio.run(victim.written(COUNTED))
    asyncio.run(victim.town.settled())
    with (
        closing(Caller(fleet, tenant, subject="ours", merchant=MALL)) as ours,
        closing(Caller(fleet, tenant, subject="theirs", merchant=PORT)) as theirs,
    ):
        yield Mall(victim, ours, theirs)


def labels(how: str) -> set[str]:
    """The operations that say this of themselves."""
    return {label for label, declared in DECLARED.items() if declared == how}


def asked(by: Caller, label: str, things: Holdings, body: Any = None) -> httpx.Response:
    """A call about these things; a query stands behind the path."""
    method, path = label.split(" ")
    return by(method, things.fill(path), json=body)


# ---------------------------------------------------------------- what is refused


def test_what_does_not_say_that_it_is_narrowed_is_refused(mall: Mall) -> None:
    """Whatever its body: who may not come in is told nothing about it."""
    refused = labels("refused")
    assert len(refused) >= 50
    for label in refused:
        for by, merchant in ((mall.ours, MALL), (mall.theirs, PORT)):
            answer = asked(by, label, mall.things, {})
            assert (answer.status_code, answer.json().get("code")) == (403, "scope_missing"), (
                label,
                answer.text,
            )
            assert answer.json()["detail"] == f"This token is for the merchant {merchant} only.", label


# ---------------------------------------------------------------- what is narrowed


def naming(things: Holdings) -> dict[str, Any]:
    """A body for each call that names its merchant: the mall."""
    member = {"card_number": things.ids["card_number"]}
    spent = {"programme": "shops", "member": member, "merchant": MALL}
    placed = {"serial": things.ids["serial"], "merchant": MALL}
    bill = {
        "merchant": MALL, "terminal": "T03", "channel": "store", "currency": "SAR", "member": member, "total_minor": 100,
        "lines": [{"line_id": "1", "amount_minor": 100}],
    }  # fmt: skip
    refund = {
        "refund_ref": "R-1",
        "merchant": MALL,
        "occurred_at": now(),
        "currency": "SAR",
        "amount_minor": 1,
    }
    return {
        "POST /v1/acts": {"act": "survey", "act_ref": "A-1", "occurred_at": now(), "member": member, "merchant": MALL},
        "POST /v1/bills": {**bill, "bill_ref": "B-1", "occurred_at": now()},
        f"GET /v1/bills?merchant={MALL}&bill_ref={things.ids['bill_ref']}": None,
        "POST /v1/quotes": bill,
        "POST /v1/refunds": {**refund, "bill": {"merchant": MALL, "bill_ref": things.ids["bill_ref"]}},
        "POST /v1/bills/{bill_id}/refunds": {**refund, "refund_ref": "R-2"},
        "POST /v1/settlements": {
            "programme": "shops", "file_hash": secrets.token_hex(32),
            "lines": [{"merchant": MALL, "day": "2026-01-01", "kind": "total", "amount": "1.00"}],
        },
        "POST /v1/benefits/use": {"code": things.ids["benefit_code"], "merchant": MALL},
        "POST /v1/gift-cards/activate": placed,
        "POST /v1/gift-cards/reload": {**placed, "amount": sar(100)},
        "POST /v1/gift-cards/use": {**placed, "pin": things.pin, "amount": sar(1)},
        "PUT /v1/merchants/{merchant}": {"name": {"en": "Mall"}, "terminals": ["T01", "T03"]},
        "GET /v1/merchants/{merchant}/statements": None,
        "POST /v1/redemption-allowances": {**spent, "terminal": "T03"},
        "POST /v1/offline-redemptions": {
            "allowance": things.ids["allowance"],
            "redemptions": [{"redemption_ref": "O-1", "points": 1, "occurred_at": now()}],
        },
        "POST /v1/redemption-codes/validate": {"code": things.ids["redemption_code"], "merchant": MALL},
        "POST /v1/redemption-codes/use": {"code": things.ids["redemption_code"], "merchant": MALL, "points": 1},
        "POST /v1/redemption-quotes": {**spent, "points": 1},
        "POST /v1/redemptions": {**spent, "points": 1},
    }  # fmt: skip


def test_who_names_another_merchant_is_refused(mall: Mall) -> None:
    for label, body in naming(mall.things).items():
        answer = asked(mall.theirs, label, mall.things, body)
        assert (answer.status_code, answer.json().get("code")) == (403, "scope_missing"), (label, answer.text)
        own = asked(mall.ours, label, mall.things, body)
        assert own.status_code in {200, 201, 202, 409, 422}, (label, own.text)


def finding(merchant: str) -> dict[str, Any]:
    """A body for each call that names in its path what is some merchant's, as one of this merchant asks."""
    refund = {"refund_ref": "R-3", "occurred_at": now(), "currency": "SAR", "amount_minor": 1}
    return {
        "GET /v1/acts/{act_id}": None,
        "GET /v1/acts/{act_id}/why": None,
        "GET /v1/benefits/{benefit_id}": None,
        "GET /v1/bills/{bill_id}": None,
        "GET /v1/bills/{bill_id}/why": None,
        "POST /v1/bills/{bill_id}/activate": None,
        "POST /v1/bills/{bill_id}/refunds": {**refund, "merchant": merchant},
        "POST /v1/gift-cards/uses/{use_id}/refunds": {"refund_ref": "R-4", "all": True},
        "GET /v1/redemptions/{redemption_id}/why": None,
        "POST /v1/redemptions/{redemption_id}/capture": {},
        "POST /v1/redemptions/{redemption_id}/returns": {"return_ref": "R-5", "all": True},
        "POST /v1/redemptions/{redemption_id}/void": None,
        "GET /v1/refunds/{refund_id}": None,
        "POST /v1/reviews/{review_id}/release": WHY,
        "POST /v1/reviews/{review_id}/cancel": WHY,
        "POST /v1/settlements/variances/{variance_id}": {"owner": "noor"},
    }


def test_what_is_another_merchants_is_not_there(mall: Mall) -> None:
    """It is answered as what nobody has; its own merchant finds it."""
    for label, body in finding(PORT).items():
        nobodys = re.sub(r"\{\w+_id\}", NOTHING, label)
        there = asked(mall.theirs, label, mall.things, body)
        assert said(there) == said(asked(mall.theirs, nobodys, mall.things, body)), label
        assert there.status_code == 404, (label, there.text)
    for label, body in finding(MALL).items():
        own = asked(mall.ours, label, mall.things, body)
        assert own.status_code in {200, 201, 202, 409, 422}, (label, own.text)


LISTS = {
    "GET /v1/bills?wallet_id={wallet_id}": 3,
    "GET /v1/reconciliation/differences?": 2,
    "GET /v1/refunds?": 2,
    "GET /v1/reviews?": 1,
    "GET /v1/settlements/variances?": 2,
    "GET /v1/stock-counts?programme=shops": 2,
}
"""How many of the mall's there are; the others of the tenant are nobody's, as what lies in the depot."""


def test_a_list_has_ones_own_alone_and_does_not_tell_how_many_others_there_are(mall: Mall) -> None:
    for label, number in LISTS.items():
        path = label.removeprefix("GET ").partition("?")[0]
        with_cursor = f"{label}&cursor={mall.things.cursors[path]}"
        for asked_for in (f"{label}&limit=1", with_cursor):
            answer = asked(mall.theirs, asked_for, mall.things)
            assert (answer.status_code, answer.json()) == (200, {"items": [], "next_cursor": None}), label
        found = asked(mall.ours, label, mall.things).json()["items"]
        assert len(found) >= number, (label, found)


def test_a_merchant_sees_what_was_counted_there_and_no_depots_nor_the_tenants_own_books(mall: Mall) -> None:
    counts = asked(mall.ours, "GET /v1/stock-counts?programme=shops", mall.things).json()["items"]
    assert [one["location"] for one in counts] == ["riyadh-mall/T03", MALL]
    differences = asked(mall.ours, "GET /v1/reconciliation/differences", mall.things).json()["items"]
    assert {one["subject"] for one in differences} == {
        f"stock/shops/mug/{MALL}",
        f"stock/shops/mug/{MALL}/T03",
    }


def test_a_benefit_that_was_used_elsewhere_is_not_there_and_one_that_nobody_used_is(mall: Mall) -> None:
    label, used = "GET /v1/benefits?wallet_id={wallet_id}", mall.things.ids["benefit_id"]

    def listed(by: Caller, more: str = "") -> Any:
        return asked(by, label + more, mall.things).json()

    assert [(one["reward"], one["merchant"]) for one in listed(mall.ours)["items"]] == [
        ("bag", MALL),
        ("mug", None),
    ]
    assert [(one["reward"], one["merchant"]) for one in listed(mall.theirs)["items"]] == [("mug", None)]
    assert listed(mall.theirs, "&limit=1")["next_cursor"] is None
    code = {"code": mall.things.ids["benefit_code"]}
    for by, place in ((mall.ours, (MALL, "T03", "a-bill")), (mall.theirs, (None, None, None))):
        told = by("POST", "/v1/benefits/validate", json=code).json()
        assert (told["benefit_id"], told["usable"], told["refusal"]) == (used, False, "benefit_consumed")
        assert (told["merchant"], told["terminal"], told["bill_ref"]) == place


def test_each_operation_that_is_narrowed_was_tried(mall: Mall) -> None:
    tried = {
        *naming(mall.things),
        *finding(MALL),
        *LISTS,
        "GET /v1/benefits",
        "POST /v1/benefits/validate",
    }
    assert {label.partition("?")[0] for label in tried} == labels("own"), "try the new one here"


# ---------------------------------------------------------------- what is no merchant's


def test_what_is_alike_for_all_merchants_is_listed_with_its_reason() -> None:
    page = (PUBLISHED.parent / "security.md").read_text()
    listed = re.findall(r"^\| `((?:GET|POST|PUT|DELETE) \S+)` \| (.+) \|$", page, re.MULTILINE)
    assert {label for label, _ in listed} == labels("alike")
    assert [label for label, why in listed if len(why.split()) < 4] == []


def test_what_is_alike_is_told_to_all_merchants_alike(mall: Mall) -> None:
    member = {"card_number": mall.things.ids["card_number"]}
    consent = {"accepted": True, "terms_version": "2026-01", "accepted_at": now()}
    bodies = {
        "POST /v1/members": {"channel": "store", "consent": consent},
        "POST /v1/members/lookup": member,
        "POST /v1/rewards/affordable": {"programme": "shops", "member": member},
        "POST /v1/gift-cards/balance": {"serial": mall.things.ids["serial"], "pin": mall.things.pin},
    }
    about = {
        "GET /v1/rewards": "?programme=shops",
        "GET /v1/rewards/{reward}": "?programme=shops",
        "GET /v1/currency-rates": "?from_currency=USD&to_currency=SAR",
        "GET /v1/programmes/{programme}/versions/{version}": "",
    }
    mall.things.ids["version"] = "1"
    for label in labels("alike"):
        answers = [
            asked(by, label + about.get(label, ""), mall.things, bodies.get(label))
            for by in (mall.ours, mall.theirs)
        ]
        assert [one.status_code for one in answers] in ([200, 200], [201, 201]), (label, answers[0].text)
        if label != "POST /v1/members":
            ours, theirs = ({**one.json(), "at": None} for one in answers)
            assert ours == theirs, label


def test_what_a_wallet_held_once_is_told_to_no_merchant(mall: Mall) -> None:
    for clock in ("effective", "posted"):
        past = f"GET /v1/wallets/{{wallet_id}}/balance?at=2026-11-22T09:00:00Z&clock={clock}"
        answer = asked(mall.ours, past, mall.things)
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), answer.text
