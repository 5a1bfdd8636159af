"""Whoever has everything in one tenant reads and changes nothing of another: by no parameter of any call.

Nor do words that are code elsewhere do anything in a parameter, where all others are good.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any
from urllib.parse import quote

from tests.gate.bodies import NOTHING
from tests.gate.holdings import ABOUT, MALL, Holdings, said
from tests.gate.words import CODE_ELSEWHERE
from tests.support.caller import DOCUMENT

ANOTHER = "01a00000-0000-7000-8000-000000000001"
AT = "2026-11-22T09:00:00Z"
WHY = {"reason": "odd"}

BODIES: dict[str, Any] = {
    "POST /v1/adjustments/{adjustment_id}/approve": {},
    "POST /v1/adjustments/{adjustment_id}/reject": {},
    "POST /v1/bills/{bill_id}/activate": None,
    "POST /v1/bills/{bill_id}/refunds": {
        "refund_ref": "X-1", "merchant": MALL, "occurred_at": AT, "currency": "SAR", "amount_minor": 1,
    },
    "POST /v1/cards/{card_id}/block": WHY,
    "POST /v1/disputes/{dispute_id}/reject": {},
    "POST /v1/disputes/{dispute_id}/uphold": {"evidence": {"reference": "C-1"}},
    "POST /v1/gift-cards/uses/{use_id}/refunds": {"refund_ref": "X-1", "all": True},
    "POST /v1/gift-cards/{card_id}/block": WHY,
    "POST /v1/gift-cards/{card_id}/pin": None,
    "POST /v1/gift-cards/{card_id}/unblock": WHY,
    "POST /v1/gift-cards/{card_id}/void": WHY,
    "POST /v1/members/{member_id}/merge": {"into": ANOTHER, **WHY},
    "POST /v1/reconciliation/differences/{difference_id}": {"state": "explained", **WHY},
    "POST /v1/redemptions/{redemption_id}/capture": {},
    "POST /v1/redemptions/{redemption_id}/returns": {"return_ref": "X-1", "all": True},
    "POST /v1/redemptions/{redemption_id}/void": None,
    "POST /v1/reviews/{review_id}/cancel": WHY,
    "POST /v1/reviews/{review_id}/release": WHY,
    "PUT /v1/segments/{segment}/members/{member_id}": {},
    "DELETE /v1/segments/{segment}/members/{member_id}": None,
    "POST /v1/settlements/variances/{variance_id}": {"state": "explained", **WHY},
    "POST /v1/wallets/{wallet_id}/block": WHY,
    "POST /v1/wallets/{wallet_id}/reinstatements": {"lot_id": None, "points": 1, **WHY},
    "POST /v1/wallets/{wallet_id}/unblock": WHY,
}  # fmt: skip
"""A good body for each write that names in its path what it changes; None is a thing of whom it is about."""


def good(label: str, of: Holdings) -> Any:
    """The body of this call about somebody's things."""
    body = BODIES[label]
    return body and {name: of.ids[name] if said is None else said for name, said in body.items()}


def parameters(method: str) -> list[tuple[str, list[str]]]:
    """Every path that this method is for, with the names of its parameters."""
    return [
        (path, [one["name"] for one in operations[method].get("parameters", []) if one["in"] != "header"])
        for path, operations in DOCUMENT["paths"].items()
        if method in operations
    ]


def names_a_thing(name: str) -> bool:
    """Whether a tenant's own things are named by it."""
    return name.endswith(("_id", "_ref")) or name == "cursor"


def asked_with(
    path: str, name: str, value: str, mine: Holdings, names: list[str]
) -> tuple[str, dict[str, str]]:
    """The path and query of a call that gives this value for this parameter, and one's own for what else it needs."""
    where = mine.fill(path.replace(f"{{{name}}}", value))
    query = {} if f"{{{name}}}" in path else {name: value}
    if name == "bill_ref":
        query["merchant"] = MALL
    if name == "cursor":
        query |= {other: mine.ids[other] for other in names if other in ABOUT}
    return where, {key: given for key, given in query.items() if f"{{{key}}}" not in path}


READS = [(path, names, name) for path, names in parameters("get") for name in names if names_a_thing(name)]
WRITES = [
    f"{method.upper()} {path}"
    for method in ("post", "put", "delete", "patch")
    for path, _ in parameters(method)
    if re.search(r"_id\}", path)
]


def test_each_name_of_a_thing_has_a_value_that_is_the_victims(victim: Holdings) -> None:
    assert [(path, name) for path, _, name in READS if victim.of(path, name) is None] == []
    assert BODIES.keys() == set(WRITES), "a write that names a thing has a good body here"
    assert len(READS) >= 45
    assert len(WRITES) >= 25


def test_the_victims_own_reads_find_what_others_must_not(victim: Holdings) -> None:
    """Else nobody could tell that it was found."""
    for path, names, name in READS:
        value = victim.of(path, name)
        assert value is not None
        where, query = asked_with(path, name, value, victim, names)
        answer = victim.call("GET", where, params=query)
        assert answer.status_code == 200 or answer.json()["code"] == "not_sealed_yet", (
            path,
            name,
            answer.text,
        )


def test_no_parameter_of_any_read_reaches_into_another_tenant(victim: Holdings, thief: Holdings) -> None:
    theirs = {value for value in victim.ids.values() if value not in thief.ids.values()}
    for path, names, name in READS:
        value = victim.of(path, name)
        assert value is not None
        where, query = asked_with(path, name, value, thief, names)
        nowhere, nothing = asked_with(path, name, NOTHING, thief, names)
        for headers in ({}, {"X-Tenant-Id": victim.town.tenant}):
            answer = thief.call("GET", where, params=query, headers=headers)
            if name == "cursor":
                assert answer.status_code == 200, (path, answer.text)
            else:
                assert said(answer) == said(thief.call("GET", nowhere, params=nothing)), (path, name)
            assert [one for one in theirs if one in answer.text] == [], (path, name, answer.text)


def test_no_write_reaches_into_another_tenant(victim: Holdings, thief: Holdings) -> None:
    """It is answered as if there were no such thing, and nothing of the victim's is another afterwards."""
    before = asyncio.run(victim.tables())
    for label in BODIES:
        method, path = label.split(" ")
        body = good(label, victim)
        name = re.findall(r"\{(\w+_id)\}", path)[-1]
        of_victim, of_nobody = (
            thief.fill(path.replace(f"{{{name}}}", str(value))) for value in (victim.of(path, name), NOTHING)
        )
        there = thief.call(method, of_victim, json=body)
        assert said(there) == said(thief.call(method, of_nobody, json=body)), label
        assert there.status_code == 404, (label, there.text)
        spoofed = thief.call(method, of_victim, json=body, headers={"X-Tenant-Id": victim.town.tenant})
        assert said(spoofed) == said(there), label
    after = asyncio.run(victim.tables())
    assert [name for name in before if before[name] != after[name]] == []


def test_each_of_these_writes_says_something_of_ones_own_thing(thief: Holdings) -> None:
    """So it was not its body that was refused."""
    for label in BODIES:
        method, path = label.split(" ")
        answer = thief.call(method, thief.fill(path), json=good(label, thief))
        assert answer.status_code in {200, 201, 202, 409, 422}, (label, answer.text)


# ---------------------------------------------------------------- words that are code elsewhere


def with_words(
    path: str, name: str, words: str, mine: Holdings, names: list[str]
) -> tuple[str, dict[str, str]]:
    """The path and query of a call that gives these words for one parameter, and good values for what else it needs."""
    where = mine.fill(path.replace(f"{{{name}}}", quote(words, safe="")))
    query = {other: mine.ids[other] for other in names if other in ABOUT and f"{{{other}}}" not in path}
    if name in {"merchant", "bill_ref"}:
        query = {"merchant": MALL, "bill_ref": mine.ids["bill_ref"]}
    return where, query if f"{{{name}}}" in path else {**query, name: words}


def test_words_that_are_code_elsewhere_are_words_here_in_every_parameter(thief: Holdings) -> None:
    """They are the name of nothing: of the wrong shape, unknown, or found in no line of a list."""
    found = []
    for path, names in parameters("get"):
        for name in names:
            for words in CODE_ELSEWHERE:
                where, query = with_words(path, name, words, thief, names)
                started = time.monotonic()
                answer = thief.call("GET", where, params=query)
                if answer.status_code not in {404, 422} and answer.json().get("items") != []:
                    found.append((path, name, words, answer.status_code, answer.text[:200]))
                assert time.monotonic() - started < 5, "nobody sleeps"
                assert "x-injected" not in answer.headers
                assert "26011" not in answer.text, "nobody reckons"
    assert found == []
