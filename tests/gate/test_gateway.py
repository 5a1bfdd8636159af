"""The gateway before the real services: who comes through, who does not and how they are told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from pointbank.embedded.process import free_port
from pointbank.verify.database import auditor
from shared.http.shell import MOST_BYTES
from shared.messaging.keys import SERVICES
from tests.gate.certificates import certificate
from tests.support.haproxy import Edge
from tests.support.http import assert_problem
from tests.support.patience import PATIENCE_S
from tests.support.processes import Fleet
from tests.support.town import Town


@dataclass(frozen=True, slots=True)
class FromNow:
    """A time by the token's clock, so many seconds from when it is made: not from when the tests were collected."""

    seconds: int | float
    """A whole number makes a claim in whole seconds."""

    def __str__(self) -> str:
        return f"now {self.seconds:+g} s"

    def at(self) -> float:
        return type(self.seconds)(time.time()) + self.seconds


def claims(town: Town, **changes: Any) -> dict[str, Any]:
    good = {
        "iss": "pointbank-dev",
        "aud": "pointbank",
        "sub": "till-7",
        "tenant": town.tenant,
        "scope": "bills:read bills:write wallets:read tiers:read messages:read programmes:read merchants:write",
        "exp": int(time.time()) + 60,
    }
    told = {name: value.at() if isinstance(value, FromNow) else value for name, value in changes.items()}
    return {name: value for name, value in {**good, **told}.items() if value is not None}


def by_rsa(rsa: RSAKey, town: Town, **changes: Any) -> str:
    return jwt.encode({"alg": "RS256", "kid": "rsa-1"}, claims(town, **changes), rsa, algorithms=["RS256"])


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def balance(town: Town) -> str:
    return f"/v1/wallets/{town.cards[0].wallet_id}/balance"


def of_each_service(town: Town) -> dict[str, str]:
    """An address of each service that is read of."""
    wallet = town.cards[0].wallet_id
    return {
        "members": "/v1/programmes",
        "earn": f"/v1/bills?wallet_id={wallet}",
        "redeem": balance(town),
        "tiers": f"/v1/tiers/{wallet}",
        "notifier": f"/v1/messages?wallet_id={wallet}",
    }


# ---------------------------------------------------------------- who comes through


def test_each_address_reaches_its_own_service_and_the_answer_is_the_services(
    edge: Edge, town: Town, rsa: RSAKey
) -> None:
    token = by_rsa(rsa, town)
    for service, path in of_each_service(town).items():
        answer = edge.ask("GET", path, token=token)
        told = edge.told(answer)
        assert (answer.status_code, told["backend"]) == (200, service), (told, answer.text)


def test_a_write_goes_through_whole_and_a_repeat_gets_the_first_answer(
    edge: Edge, town: Town, rsa: RSAKey
) -> None:
    bill = town.bills(1)[0]
    headers = {"Idempotency-Key": secrets.token_hex(8), "X-Request-Id": "till-7:0815"}
    first, again = [
        edge.ask("POST", "/v1/bills", token=by_rsa(rsa, town), headers=headers, json=town.body(bill))
        for _ in range(2)
    ]
    assert first.status_code == 201
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["x-request-id"] == "till-7:0815", "the caller's own"
    assert first.headers.get_list("x-request-id") == ["till-7:0815"]


@pytest.mark.parametrize(
    "changes",
    [{"aud": ["other", "pointbank"]}, {"nbf": 1}, {"exp": FromNow(3600.5)}],
    ids=["one audience of several", "valid since long", "a fraction of a second"],
)
def test_a_token_may_say_it_in_other_words(
    edge: Edge, town: Town, rsa: RSAKey, changes: dict[str, Any]
) -> None:
    assert edge.ask("GET", balance(town), token=by_rsa(rsa, town, **changes)).status_code == 200


def test_a_token_of_the_other_key_is_as_good(edge: Edge, fleet: Fleet, town: Town) -> None:
    assert edge.ask("GET", balance(town), token=fleet.token("till", town.tenant)).status_code == 200


# ---------------------------------------------------------------- who does not


def forged(rsa: RSAKey, town: Town, how: str) -> str:
    """A token that is wrong in one way."""
    good = by_rsa(rsa, town)
    head, body, signature = good.split(".")
    public = rsa.as_pem(private=False)
    match how:
        case "wrong key":
            return by_rsa(RSAKey.generate_key(2048), town)
        case "alg none":
            return f"{segment({'alg': 'none', 'kid': 'rsa-1'})}.{body}."
        case "alg none with a signature":
            return f"{segment({'alg': 'none', 'kid': 'rsa-1'})}.{body}.{signature}"
        case "HS256 with the public key":
            signed = f"{segment({'alg': 'HS256', 'kid': 'rsa-1'})}.{body}"
            made = hmac.new(public, signed.encode(), hashlib.sha256).digest()
            return f"{signed}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"
        case "HS256 with the name of the key's file":
            signed = f"{segment({'alg': 'HS256', 'kid': 'rsa-1'})}.{body}"
            made = hmac.new(b"key-2.pem", signed.encode(), hashlib.sha256).digest()
            return f"{signed}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"
        case "tampered":
            return f"{head}.{segment(claims(town, tenant='another'))}.{signature}"
        case "another key's id":
            named = {"alg": "RS256", "kid": "rsa-2"}
            return jwt.encode(named, claims(town), rsa, algorithms=["RS256"])
        case "another kind of key":
            other = ECKey.generate_key("P-256")
            return jwt.encode({"alg": "ES256", "kid": "rsa-1"}, claims(town), other, algorithms=["ES256"])
        case "a kid that is a path":
            named = {"alg": "RS256", "kid": "../../dev/null"}
            return jwt.encode(named, claims(town), rsa, algorithms=["RS256"])
        case "no signature":
            return f"{head}.{body}."
        case _:
            return how


FORGERIES = (
    "wrong key",
    "alg none",
    "alg none with a signature",
    "HS256 with the public key",
    "HS256 with the name of the key's file",
    "tampered",
    "another key's id",
    "another kind of key",
    "a kid that is a path",
    "no signature",
    "not.a.token",
    "a.b",
    "x" * 9000,
)


@pytest.mark.parametrize("how", FORGERIES)
def test_a_forged_token_is_invalid(edge: Edge, town: Town, rsa: RSAKey, how: str) -> None:
    answer = edge.ask("GET", balance(town), token=forged(rsa, town, how))
    assert_problem(answer, 401, "token_invalid")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert edge.told(answer)["backend"] == "edge", "no service was asked"


WRONG_CLAIMS: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"iss": "https://evil.example"}, 401, "token_invalid"),
    ({"iss": None}, 401, "token_invalid"),
    ({"aud": "other"}, 401, "token_invalid"),
    ({"aud": ["other", "pointbank-2"]}, 401, "token_invalid"),
    ({"aud": None}, 401, "token_invalid"),
    ({"exp": None}, 401, "token_invalid"),
    ({"exp": 10**400}, 401, "token_invalid"),
    ({"exp": "soon"}, 401, "token_invalid"),
    ({"exp": FromNow(-5)}, 401, "token_expired"),
    ({"nbf": FromNow(3600)}, 401, "token_invalid"),
    ({"sub": None}, 401, "token_invalid"),
    ({"sub": "a\r\nX-Tenant-Id: evil"}, 401, "token_invalid"),
    ({"tenant": None}, 403, "tenant_forbidden"),
    ({"tenant": "ACME"}, 403, "tenant_forbidden"),
    ({"tenant": "acme\nevil"}, 403, "tenant_forbidden"),
)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    WRONG_CLAIMS,
    ids=lambda value: json.dumps(value, default=str)[:40] if isinstance(value, dict) else str(value),
)
def test_a_token_with_a_wrong_claim_is_refused(
    edge: Edge, town: Town, rsa: RSAKey, changes: dict[str, Any], status: int, code: str
) -> None:
    answer = edge.ask("GET", balance(town), token=by_rsa(rsa, town, **changes))
    assert_problem(answer, status, code)
    assert edge.told(answer)["backend"] == "edge"


def test_without_a_token_the_answer_asks_for_one_and_two_are_too_many(
    edge: Edge, town: Town, rsa: RSAKey
) -> None:
    answer = edge.ask("GET", balance(town))
    assert_problem(answer, 401, "token_missing")
    assert answer.headers["www-authenticate"] == "Bearer"
    good = f"Bearer {by_rsa(rsa, town)}"
    for headers in ([("Authorization", good)] * 2, [("Authorization", "Basic dTpw")]):
        assert_problem(edge.ask("GET", balance(town), headers=headers), 401, "token_invalid")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/readyz",
        "/openapi.json",
        "/docs",
        "/v1",
        "/v1/bills/",
        "/v1/bills/../bills",
        "/v1/bills/%2e%2e/why",
        "/v1//bills",
        "/v1/wallets/a/b/balance",
        "/v1/wallets/a%2Fledger",
        "/V1/bills",
        "/v1/bills;x=1",
    ],
)
def test_only_addresses_of_the_interface_are_passed_on(
    edge: Edge, town: Town, rsa: RSAKey, path: str
) -> None:
    answer = edge.ask("GET", path, token=by_rsa(rsa, town))
    assert_problem(answer, 404, "not_found")
    assert edge.told(answer)["backend"] == "edge"


def test_an_address_has_its_methods_only(edge: Edge, town: Town, rsa: RSAKey) -> None:
    for method in ("DELETE", "PUT", "OPTIONS", "TRACE", "PATCH"):
        answer = edge.ask(method, "/v1/bills", token=by_rsa(rsa, town))
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "GET,POST"
    assert edge.ask("HEAD", "/v1/bills", token=by_rsa(rsa, town)).status_code == 405


def test_a_reward_that_is_called_as_an_address_beside_it_is_asked_for_by_its_code(
    edge: Edge, town: Town, rsa: RSAKey
) -> None:
    answer = edge.ask("GET", "/v1/rewards/affordable?programme=shops", token=by_rsa(rsa, town))
    assert edge.told(answer)["backend"] == "redeem"
    assert answer.status_code != 405


def test_a_large_body_is_refused_where_it_is_announced_and_where_it_is_not(
    edge: Edge, town: Town, rsa: RSAKey
) -> None:
    headers = {"Idempotency-Key": secrets.token_hex(8), "Content-Type": "application/json"}
    token, much = by_rsa(rsa, town), b" " * (MOST_BYTES + 1)
    answer = edge.ask("POST", "/v1/bills", token=token, headers=headers, content=much)
    assert_problem(answer, 413, "body_too_large")
    assert edge.told(answer)["backend"] == "edge"

    def piecemeal() -> Iterator[bytes]:
        for at in range(0, len(much), 65536):
            yield much[at : at + 65536]

    answer = edge.ask("POST", "/v1/bills", token=token, headers=headers, content=piecemeal())
    assert_problem(answer, 413, "body_too_large")


# ---------------------------------------------------------------- how often


def test_a_tenant_has_its_limit_and_another_is_not_held_up(
    fleet: Fleet, folder: Path, jwks: Path, rsa: RSAKey, town: Town, edge: Edge
) -> None:
    own = Edge(folder / "limited", jwks, edge.backends, options=["--limit=20"])
    own.folder.mkdir()
    (own.folder / "limits.map").write_text(f"{town.tenant} 5\n")
    with own.running():
        answers = [own.ask("GET", balance(town), token=by_rsa(rsa, town)) for _ in range(12)]
        other = [own.ask("GET", balance(town), token=by_rsa(rsa, town, tenant="quiet")) for _ in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 7
    assert [answer.headers["ratelimit"] for answer in answers[:6]] == [
        f'"tenant";r={left};t=10' for left in (4, 3, 2, 1, 0, 0)
    ]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"tenant";q=5;w=10'}
    assert_problem(answers[-1], 429, "rate_limited")
    assert answers[-1].headers["retry-after"] == "10"
    assert {answer.status_code for answer in other} == {403}, (
        "its service knows no such tenant, and was asked"
    )
    assert other[0].headers["ratelimit"] == '"tenant";r=19;t=10'


def test_a_forged_token_takes_nothing_from_the_tenant_that_it_names(
    folder: Path, jwks: Path, rsa: RSAKey, town: Town, edge: Edge
) -> None:
    own = Edge(folder / "forgers", jwks, edge.backends, options=["--limit=3"])
    bad = forged(rsa, town, "wrong key")
    with own.running():
        for _ in range(10):
            own.ask("GET", balance(town), token=bad)
        answers = [own.ask("GET", balance(town), token=by_rsa(rsa, town)) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


# ---------------------------------------------------------------- from where


def test_only_listed_networks_may_call(folder: Path, jwks: Path, rsa: RSAKey, town: Town, edge: Edge) -> None:
    own = Edge(folder / "elsewhere", jwks, edge.backends)
    own.folder.mkdir()
    (own.folder / "allow.lst").write_text("192.0.2.0/24\n")
    with own.running():
        refused = own.ask("GET", balance(town), token=by_rsa(rsa, town))
        forwarded = {"X-Forwarded-For": "192.0.2.7"}
        lying = own.ask("GET", balance(town), token=by_rsa(rsa, town), headers=forwarded)
    for answer in (refused, lying):
        assert_problem(answer, 403, "tenant_forbidden")


def test_the_audit_has_the_callers_address_and_not_the_one_it_claims(
    edge: Edge, town: Town, rsa: RSAKey
) -> None:
    bill = town.bills(1)[0]
    request_id = secrets.token_hex(8)
    headers = {
        "Idempotency-Key": secrets.token_hex(8),
        "X-Request-Id": request_id,
        "X-Forwarded-For": "203.0.113.66",
        "Forwarded": "for=203.0.113.66",
        "X-Real-Ip": "203.0.113.66",
    }
    answer = edge.ask("POST", "/v1/bills", token=by_rsa(rsa, town), headers=headers, json=town.body(bill))
    assert answer.status_code == 201

    async def places() -> set[str]:
        async with auditor(town.settings, town.tenant) as db:
            rows = await db.fetch("SELECT place FROM earn.audit WHERE request_id = $1", request_id)
        return {row["place"].partition("/")[0] for row in rows}

    assert asyncio.run(places()) == {"127.0.0.1"}


def test_behind_a_balancer_it_speaks_tls_and_knows_from_where_the_caller_is(
    folder: Path, jwks: Path, rsa: RSAKey, town: Town, edge: Edge
) -> None:
    both, trusted = certificate(folder)
    own = Edge(folder / "tls", jwks, edge.backends, options=[f"--tls={both}", "--proxy-protocol"])
    own.folder.mkdir()
    (own.folder / "allow.lst").write_text("192.0.2.0/24\n")
    head = f"GET {balance(town)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer "
    call = f"{head}{by_rsa(rsa, town)}\r\n\r\n".encode()
    context = ssl.create_default_context(cafile=str(trusted))
    answers = {}
    with own.running():
        for caller in ("192.0.2.9", "198.51.100.9"):
            with socket.create_connection(("127.0.0.1", own.port), timeout=PATIENCE_S) as plain:
                plain.sendall(f"PROXY TCP4 {caller} 127.0.0.1 5000 443\r\n".encode())
                with context.wrap_socket(plain, server_hostname="localhost") as there:
                    there.sendall(call)
                    answers[caller] = b"".join(iter(lambda: there.recv(65536), b""))
    assert answers["192.0.2.9"].startswith(b"HTTP/1.1 200 ")
    assert b"strict-transport-security: max-age=31536000" in answers["192.0.2.9"]
    assert answers["198.51.100.9"].startswith(b"HTTP/1.1 403 ")


# ---------------------------------------------------------------- when services are away


def test_a_service_that_is_away_is_told_as_the_services_would_and_the_others_go_on(
    folder: Path, jwks: Path, rsa: RSAKey, town: Town, edge: Edge
) -> None:
    own = Edge(folder / "away", jwks, {**edge.backends, "tiers": [f"127.0.0.1:{free_port()}"]})
    with own.running(checked=False):
        answer = own.ask("GET", f"/v1/tiers/{town.cards[0].wallet_id}", token=by_rsa(rsa, town))
        assert_problem(answer, 503, "tenant_unavailable")
        assert answer.headers["retry-after"] == "5"
        assert own.ask("GET", balance(town), token=by_rsa(rsa, town)).status_code == 200


def test_a_replica_that_went_away_is_nothing_that_a_caller_sees(
    folder: Path, jwks: Path, rsa: RSAKey, town: Town, edge: Edge
) -> None:
    servers = [f"127.0.0.1:{free_port()}", *edge.backends["redeem"]]
    own = Edge(folder / "replica", jwks, {**edge.backends, "redeem": servers})
    with own.running(checked=False):
        answers = [own.ask("GET", balance(town), token=by_rsa(rsa, town)) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/bills HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET http://elsewhere/v1/bills HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/bills HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_not_passed_on(edge: Edge, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=PATIENCE_S) as there:
        there.sendall(said)
        answer = b"".join(iter(lambda: there.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_its_log_is_one_json_object_a_call_and_holds_no_token(edge: Edge, town: Town, rsa: RSAKey) -> None:
    token = by_rsa(rsa, town)
    odd = edge.told(edge.ask("GET", '/v1/bi"lls\\n{', token=token, headers={"X-Request-Id": "log-1"}))
    assert (odd["path"], odd["status"]) == ('/v1/bi"lls\\n{', 404)
    good = edge.told(edge.ask("GET", balance(town) + "?card=6270158304941178", token=token))
    assert (good["tenant"], good["path"]) == (town.tenant, balance(town))
    text = (edge.folder / "haproxy.log").read_text()
    assert token not in text
    assert "6270158304941178" not in text


def test_its_counts_are_on_an_address_of_their_own(edge: Edge) -> None:
    with httpx.Client(trust_env=False) as client:
        text = client.get(f"http://127.0.0.1:{edge.metrics_port}/metrics").text
    assert 'haproxy_backend_http_responses_total{proxy="redeem",code="2xx"}' in text


# ---------------------------------------------------------------- and without it


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_refuses_the_same_without_the_gateway(
    fleet: Fleet, town: Town, rsa: RSAKey, service: str
) -> None:
    path = of_each_service(town)[service]
    with httpx.Client(
        base_url=f"http://127.0.0.1:{fleet.of(service)[0].port}", trust_env=False, timeout=30
    ) as client:

        def ask(token: str | None) -> httpx.Response:
            """With a header beside it that no service believes."""
            bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
            return client.get(path, headers={"X-Tenant-Id": town.tenant, **bearer})

        assert ask(by_rsa(rsa, town)).status_code == 200
        assert_problem(ask(None), 401, "token_missing")
        for how in FORGERIES:
            assert_problem(ask(forged(rsa, town, how)), 401, "token_invalid")
        for changes, status, code in WRONG_CLAIMS:
            assert_problem(ask(by_rsa(rsa, town, **changes)), status, code)
        assert_problem(ask(by_rsa(rsa, town, tenant="another")), 403, "tenant_forbidden")
        good = {"Authorization": f"Bearer {by_rsa(rsa, town)}"}
        assert_problem(client.get("/v1/nowhere", headers=good), 404, "not_found")
        assert_problem(client.delete(path, headers=good), 405, "method_not_allowed")
