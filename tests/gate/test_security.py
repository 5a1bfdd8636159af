"""What an attacker with a token of his own tries: another tenant's name, words that are code elsewhere, bombs, log lines.

Another tenant's things, by every parameter: test_crossing.py.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import httpx
import msgspec
import pytest

from pointbank.verify import verify_tenant
from tests.support.caller import DOCUMENT, Caller
from tests.support.processes import Fleet
from tests.support.programmes import SHOPS
from tests.support.town import Town, found_town, leave

CODE_ELSEWHERE = [
    "' OR '1'='1",
    "'; DROP TABLE bills; --",
    "1) UNION SELECT payload FROM outbox --",
    "$1::text; SELECT pg_sleep(5)",
    "\\'; COPY audit TO PROGRAM 'true'; --",
    "{{ 7 * 191 }}",
    "{% include '/etc/passwd' %}",
    "${jndi:ldap://127.0.0.1/a}",
    "%(asctime)s %s %n",
    "a\r\nX-Injected: 1",
    '"}\n{"level":"info","event":"http","status":200}',
    "\x1b[2J\x1b]0;owned\x07",
    "../../../etc/passwd",
    "*",
]
"""Words that are SQL, templates, formats, headers, log lines, terminals' orders or paths to somebody careless."""


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


def test_words_that_are_code_elsewhere_are_words_here_in_every_parameter(mallory: Caller) -> None:
    for path, names in reads():
        for name in names:
            for words in CODE_ELSEWHERE[::3]:
                escaped = quote(words, safe="") if f"{{{name}}}" in path else words
                where, query = filled(path, names, {name: escaped})
                query = {} if escaped is not words else query
                started = time.monotonic()
                answer = mallory("GET", where, params=query)
                assert answer.status_code in {404, 422}, (path, name, words, answer.text)
                assert time.monotonic() - started < 5
                assert "1337" not in answer.text
                assert "x-injected" not in answer.headers


def test_words_that_are_code_elsewhere_are_kept_as_they_are(mallory: Caller, town: Town) -> None:
    """In a bill's own texts, an enrolment's, a merchant's and a programme's."""
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
    document = msgspec.json.decode(msgspec.json.encode(SHOPS))
    document["programme"] |= {"code": "odd", "name": {"en": CODE_ELSEWHERE[5], "ar": CODE_ELSEWHERE[6]}}
    document["programme"]["card_prefix"] = "627016"
    answer = mallory("POST", "/v1/programmes", json=document)
    assert answer.status_code in {201, 422}, answer.text

    async def whole() -> None:
        await town.settled()
        report = await verify_tenant(town.settings, town.tenant)
        assert report, [(check.name, check.broken, check.examples) for check in report.broken]

    asyncio.run(whole())


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


def test_whatever_was_sent_each_line_of_the_log_is_an_object_of_ours(
    mallory: Caller, fleet: Fleet, town: Town
) -> None:
    for words in CODE_ELSEWHERE:
        sent = words.encode("ascii", "ignore").replace(b"\r", b"").replace(b"\n", b"")
        for name in ("X-Request-Id", "User-Agent", "X-Forwarded-For", "Idempotency-Key"):
            try:
                mallory(
                    "GET", f"/v1/wallets/{town.cards[0].wallet_id}/balance", headers={name: sent.decode()}
                )
            except httpx.HTTPError:
                continue  # the client itself refuses to send it
    lines = [line for one in fleet.replicas.values() for line in one.log.read_bytes().splitlines()]
    assert len(lines) > 100
    for line in lines:
        told = msgspec.json.decode(line)
        assert {"event", "level", "at"} <= told.keys(), line[:200]
        assert b"\x1b" not in line
        assert b"eyJ" not in line, "no token"
    bugs = [line for line in lines if b"unhandled_exception" in line]
    assert bugs == []
