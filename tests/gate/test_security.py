"""What an attacker with a token of his own tries: another tenant's name, words that are code elsewhere, bombs, log lines.

Another tenant's things, by every parameter: test_crossing.py.
"""

from __future__ import annotations

import asyncio
import copy
import gzip
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from pointbank.opening import wallet_of
from pointbank.verify import verify_tenant
from shared.db import connect
from shared.tenants.provision import dsn_for
from tests.gate.words import CODE_ELSEWHERE
from tests.support.caller import DOCUMENT, Caller
from tests.support.processes import Fleet
from tests.support.programmes import SHOPS
from tests.support.town import Town, found_town, leave

HALF = len(CODE_ELSEWHERE) // 2
ODD_NAME, ODD_TIER = " ".join(CODE_ELSEWHERE[:HALF]), " ".join(CODE_ELSEWHERE[HALF:])


@pytest.fixture(scope="module")
def other(fleet: Fleet) -> Iterator[Town]:
    """A second tenant with a member of its own: the victim."""
    made = asyncio.run(found_town(fleet, f"v{secrets.token_hex(3)}", members=1, seed=11))
    yield made
    asyncio.run(leave(made))


@pytest.fixture(scope="module")
def mallory(fleet: Fleet, town: Town) -> Iterator[Caller]:
    with closing(Caller(fleet, town.tenant)) as made:
        yield made


def reads() -> list[tuple[str, list[str]]]:
    """Every GET of the interface with the names of its parameters."""
    return [
        (path, [one["name"] for one in operations["get"].get("parameters", []) if one["in"] != "header"])
        for path, operations in DOCUMENT["paths"].items()
        if "get" in operations
    ]


def filled(path: str, names: list[str], values: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The path with these values, and the query with the rest; parameters without a value are left out."""
    path = re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], "shops"), path)
    return path, {name: values[name] for name in names if name in values}


# ---------------------------------------------------------------- tenants


def test_a_tenant_can_not_be_named_but_in_the_token(mallory: Caller, other: Town) -> None:
    for path, _ in reads():
        where, _ = filled(path, [], {})
        answer = mallory("GET", where, params={"tenant": other.tenant})
        assert answer.status_code in {404, 422}, (path, answer.text)


def test_a_write_that_names_another_tenants_member_or_card_finds_nobody(
    fleet: Fleet, mallory: Caller, other: Town
) -> None:
    card = other.cards[0]
    with closing(Caller(fleet, other.tenant, subject="owner")) as owner:
        found = owner("POST", "/v1/members/lookup", json={"card_number": card.card_number}).json()
    for member in ({"member_id": found["member_id"]}, {"card_number": card.card_number}):
        answer = mallory("POST", "/v1/redemptions", json={**other.redemption(card, 1).body, "member": member})
        assert (answer.status_code, answer.json()["code"]) == (422, "member_unknown")
        assert mallory("POST", "/v1/members/lookup", json=member).status_code == 404


# ---------------------------------------------------------------- words that are code elsewhere


def test_words_that_are_code_elsewhere_are_kept_as_they_are(mallory: Caller, town: Town) -> None:
    """In a bill's own texts, and a merchant's."""
    for number, words in enumerate(CODE_ELSEWHERE):
        bill = {**town.body(town.bills(1)[0]), "bill_ref": f"{number} {words}"}
        bill["lines"] = [
            {**bill["lines"][0], "line_id": words[:64], "sku": words, "amount_minor": bill["total_minor"]}
        ]
        made = mallory("POST", "/v1/bills", json=bill)
        assert made.status_code == 201, (words, made.text)
        found = mallory(
            "GET", "/v1/bills", params={"merchant": bill["merchant"], "bill_ref": bill["bill_ref"]}
        )
        assert found.json()["bill_ref"] == bill["bill_ref"]
    merchant = {"brand": CODE_ELSEWHERE[5], "name": {"en": CODE_ELSEWHERE[0]}, "terminals": []}
    assert mallory("PUT", "/v1/merchants/odd", json=merchant).json()["name"] == {"en": CODE_ELSEWHERE[0]}

    async def whole() -> None:
        await town.settled()
        report = await verify_tenant(town.settings, town.tenant)
        assert report, [(check.name, check.broken, check.examples) for check in report.broken]

    asyncio.run(whole())


def odd_programme() -> dict[str, Any]:
    """Its name and a tier's hold all these words between them."""
    document: dict[str, Any] = copy.deepcopy(SHOPS)
    document["programme"] |= {"code": "odd", "name": {"en": ODD_NAME}, "card_prefix": "627016"}
    document["tiers"]["ladder"][1]["name"] = {"en": ODD_TIER}
    return document


def test_a_programme_and_a_tier_with_such_names_are_told_by_them_in_a_line_each(
    mallory: Caller, fleet: Fleet, town: Town
) -> None:
    """No template of a name is rendered, and no line feed of one begins a line of the log, which has the texts."""
    made = mallory("POST", "/v1/programmes", json=odd_programme())
    assert made.status_code == 201, made.text
    assert mallory("POST", "/v1/programmes/odd/versions/1/activate").status_code == 200
    newcomer = next(town.newcomers).enrolment(programmes=["odd"], accepted_at="2026-01-01T09:00:00Z")
    member = mallory("POST", "/v1/members", json={**newcomer, "locale": "en"})
    assert member.status_code == 201, member.text
    wallet = wallet_of(member.json(), "odd")
    about = {"bill_ref": "odd", "member": {"card_number": wallet["card"]["card_number"]}}
    lines = [{"line_id": "1", "amount_minor": 60_000}]
    bill = {**town.body(town.bills(1)[0]), **about, "total_minor": 60_000, "lines": lines}
    # 202 where earn has not heard of the member yet: the bill waits, and is settled below.
    assert mallory("POST", "/v1/bills", json=bill).status_code in {201, 202}
    asyncio.run(town.settled())
    messages = mallory("GET", "/v1/messages", params={"wallet_id": wallet["wallet_id"]}).json()["items"]
    texts = {
        told["template"]: told["text"]
        for told in logged(fleet)
        if told.get("message_id") in {one["message_id"] for one in messages if one["state"] == "delivered"}
    }
    assert texts.keys() == {"earned", "reached"}
    assert texts["earned"].startswith(f"You earned 600 points with {ODD_NAME}, worth ")
    assert texts["reached"] == f"You have reached {ODD_TIER} in {ODD_NAME}. Congratulations!"


# ---------------------------------------------------------------- bombs

GZIPPED = gzip.compress(b"[" + b"0," * 5_000_000 + b"0]")
BOMBS: list[tuple[bytes, dict[str, str], set[int]]] = [
    (GZIPPED, {"Content-Encoding": "gzip"}, {400}),
    (b'{"total_minor":' + b"9" * 500_000 + b"}", {}, {400, 422}),
    (b'{"total_minor":1e' + b"9" * 1_000 + b"}", {}, {400, 422}),
    (b'{"total_minor":' + b"1" + b"0" * 4_301 + b"}", {}, {400, 422}),
    (b"[" * 500_000, {}, {400}),
    (b'{"lines":' + b"[" * 900 + b"]" * 900 + b"}", {}, {400, 422}),
    (b'{"lines":[' + b"{}," * 300_000 + b"{}]}", {}, {422}),
    (b'{"' + b"a" * 1_000_000 + b'":1}', {}, {422}),
    (b"{" + b",".join(b'"k%d":1' % k for k in range(80_000)) + b"}", {}, {422}),
    (b'{"bill_ref":"' + b"\\u0000" * 100_000 + b'"}', {}, {422}),
]


@pytest.mark.parametrize("path", ["/v1/bills", "/v1/programmes"])
def test_bombs_are_refused_at_once_and_are_told_of_in_few_words(mallory: Caller, path: str) -> None:
    for body, headers, statuses in BOMBS:
        started = time.monotonic()
        answer = mallory("POST", path, content=body, headers={"Content-Type": "application/json", **headers})
        assert answer.status_code in statuses, (body[:40], answer.text[:200])
        assert time.monotonic() - started < 10, body[:40]
        assert len(answer.content) < 2 * len(body) + 20_000, body[:40]


def test_a_page_has_no_more_than_a_page(mallory: Caller, town: Town) -> None:
    path = f"/v1/wallets/{town.cards[0].wallet_id}/ledger"
    for limit in ("0", "-1", "1e9", "999999999999999999999999", "NaN", "١"):
        assert mallory("GET", path, params={"limit": limit}).status_code == 422, limit
    for cursor in ("x", "A" * 10_000, "eyJsYXN0IjoxfQ", "\0", "W10"):
        assert mallory("GET", path, params={"cursor": cursor}).status_code == 422, cursor


# ---------------------------------------------------------------- logs

REFUSES = """
    CREATE FUNCTION earn.says_so() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', NEW.bill_ref; END $$;
    CREATE TRIGGER says_so BEFORE INSERT ON earn.bill_keys FOR EACH ROW WHEN (NEW.bill_ref LIKE 'logged %')
        EXECUTE FUNCTION earn.says_so()
"""
"""A database whose error has the caller's words."""


def logged(fleet: Fleet) -> list[dict[str, Any]]:
    """All that was logged: each line is an object of ours."""
    lines = [line for one in fleet.replicas.values() for line in one.log.read_bytes().split(b"\n") if line]
    told = [msgspec.json.decode(line) for line in lines]
    for line, one in zip(lines, told, strict=True):
        assert {"event", "level", "at"} <= one.keys(), line[:200]
        assert not re.search(rb"[\x00-\x1f\x7f]", line), line[:200]
        assert b"eyJ" not in line, "no token"
    return told


@contextmanager
def database_that_says(town: Town, refuses: str) -> Iterator[None]:
    def run(sql: str) -> None:
        async def executed() -> None:
            db = await connect(dsn_for(town.settings, f"pb_{town.tenant}"))
            try:
                await db.execute(sql)
            finally:
                await db.close()

        asyncio.run(executed())

    run(refuses)
    try:
        yield
    finally:
        run("DROP TRIGGER says_so ON earn.bill_keys; DROP FUNCTION earn.says_so()")


def test_words_in_an_error_of_the_database_stay_in_the_line_of_that_error(
    mallory: Caller, fleet: Fleet, town: Town
) -> None:
    refs = [f"logged {words}" for words in CODE_ELSEWHERE]
    with database_that_says(town, REFUSES):
        for ref in refs:
            bill = {**town.body(town.bills(1)[0]), "bill_ref": ref}
            refused = mallory("POST", "/v1/bills", json=bill, headers={"X-Request-Id": "asked-for"})
            assert (refused.status_code, refused.json()["code"]) == (500, "internal_error")
            assert ref not in refused.text
    told = [one["exception"] for one in logged(fleet) if one["event"] == "call failed"]
    for ref in refs:
        assert [one for one in told if ref in one] != [], ref


def test_words_in_a_callers_name_stay_in_the_line_of_its_call(fleet: Fleet, town: Town) -> None:
    """Its issuer may let people name themselves. A name of more than a word is none."""
    path = f"/v1/wallets/{town.cards[0].wallet_id}/balance"
    for words in CODE_ELSEWHERE:
        with closing(Caller(fleet, town.tenant, subject=words)) as call:
            assert call("GET", path).status_code == (401 if re.search(r"[^\x21-\x7e]", words) else 200), words
    subjects = [re.sub(r"[^\x21-\x7e]", "", words) for words in CODE_ELSEWHERE]
    for subject in subjects:
        with closing(Caller(fleet, town.tenant, subject=subject)) as call:
            assert call("GET", path).status_code == 200, subject
    assert set(subjects) <= {one["subject"] for one in logged(fleet) if one["event"] == "http"}


def test_words_in_headers_are_in_no_line(fleet: Fleet, town: Town) -> None:
    """As they are on the wire: a client of good manners would refuse to send them."""
    path, token = f"/v1/wallets/{town.cards[0].wallet_id}/balance", fleet.token("till", town.tenant)
    names = ("X-Request-Id", "User-Agent", "X-Forwarded-For", "Idempotency-Key", "Traceparent")
    for words in CODE_ELSEWHERE:
        for name in names:
            head = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
            said = f"{head}{name}: headed {words}\r\n\r\n".encode()
            with socket.create_connection(("127.0.0.1", fleet.of("redeem")[0].port), timeout=10) as there:
                there.sendall(said)
                answer = b"".join(iter(partial(there.recv, 65536), b""))
            assert answer[:12] in {b"HTTP/1.1 200", b"HTTP/1.1 400"}, (name, words, answer[:200])
    assert [one for one in logged(fleet) if "headed" in str(one)] == []


def test_none_of_this_was_a_bug_but_what_was_asked_for(fleet: Fleet) -> None:
    bugs = [one for one in logged(fleet) if one["event"] == "unhandled_exception"]
    assert [one for one in bugs if one["request_id"] != "asked-for"] == []
