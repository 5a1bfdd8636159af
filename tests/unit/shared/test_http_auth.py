"""Who is let in: every way in which a token can be wrong, and what a good one is good for."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from shared.http.auth import Verifier
from shared.http.keys import MAX_AGE_S, RETRY_S, Keys
from shared.http.problems import TokenExpired, TokenInvalid
from tests.support.http import Served, assert_problem, served

URL = "/v1/sales/01a20261-6110-7623-a101-67553939c87e"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


def claims(**changes: Any) -> dict[str, Any]:
    good = {
        "iss": "pointbank-dev",
        "aud": "pointbank",
        "sub": "till-7",
        "tenant": "acme",
        "scope": "bills:read bills:write",
        "exp": int(time.time()) + 60,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(shop: Served, header: dict[str, Any] | None = None, **changes: Any) -> str:
    said = {"alg": "ES256", "kid": shop.keys.private.kid, **(header or {})}
    return jwt.encode(said, claims(**changes), shop.keys.private, algorithms=["ES256"])


NONE, HS256 = b'{"alg":"none"}', b'{"alg":"HS256"}'


def segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def get(shop: Served, token: str) -> httpx.Response:
    return await shop.client.get(URL, headers={"Authorization": f"Bearer {token}"})


async def test_a_good_token_is_let_in_as_its_subject(shop: Served) -> None:
    answer = await get(shop, signed(shop))
    assert (answer.status_code, answer.json()["status"]) == (200, "till-7")


async def test_a_tenant_may_be_named_as_tenants_are(shop: Served) -> None:
    shop.shop.lanes["acme-2"] = shop.shop.lanes["acme"]
    assert (await get(shop, signed(shop, tenant="acme-2"))).status_code == 200


async def test_without_a_token_the_answer_asks_for_one(shop: Served) -> None:
    answer = await shop.client.get(URL)
    assert_problem(answer, 401, "token_missing")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header", ["Basic abc", "Bearer", "Bearer ", "Bearer a.b.c", "Bearer a.b", "Bearer é.é.é"]
)
async def test_a_header_that_holds_no_token_is_invalid(shop: Served, header: str) -> None:
    answer = await shop.client.get(URL, headers=[(b"authorization", header.encode())])
    assert_problem(answer, 401, "token_invalid")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "someone"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": None},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 10**400},
        {"exp": 253_402_300_800},  # the year 10000
        {"sub": None},
        {"sub": "two words"},
        {"nbf": 32_503_680_000},  # the year 3000
        {"typ": "robot"},
        {"merchant": "a/b"},
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_claim_is_invalid(shop: Served, changes: dict[str, Any]) -> None:
    answer = await get(shop, signed(shop, **changes))
    assert_problem(answer, 401, "token_invalid")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("tenant", [None, "ACME", "a" * 41, "acme; drop", ["acme"], ""], ids=str)
async def test_a_token_that_names_no_tenant_is_good_for_none(shop: Served, tenant: object) -> None:
    answer = await get(shop, signed(shop, tenant=tenant))
    assert_problem(answer, 403, "tenant_forbidden")
    assert "names no tenant" in answer.json()["detail"]


async def test_an_expired_token_says_so(shop: Served) -> None:
    assert_problem(await get(shop, signed(shop, exp=int(time.time()) - 1)), 401, "token_expired")


async def test_a_token_of_somebody_elses_key_is_invalid(shop: Served) -> None:
    other = ECKey.generate_key("P-256")
    forged = jwt.encode({"alg": "ES256", "kid": shop.keys.private.kid}, claims(), other, algorithms=["ES256"])
    assert_problem(await get(shop, forged), 401, "token_invalid")


async def test_a_changed_token_is_invalid_also_after_the_good_one_was_remembered(shop: Served) -> None:
    good = signed(shop)
    assert (await get(shop, good)).status_code == 200
    head, _, signature = good.split(".")
    forged = f"{head}.{segment(json.dumps(claims(tenant='other')).encode())}.{signature}"
    assert_problem(await get(shop, forged), 401, "token_invalid")


async def test_unsigned_and_symmetric_tokens_are_invalid(shop: Served) -> None:
    """The two classic confusions: alg none, and the public key taken for an HMAC secret."""
    body = segment(json.dumps(claims()).encode())
    assert_problem(await get(shop, f"{segment(NONE)}.{body}."), 401, "token_invalid")
    signed_part = f"{segment(HS256)}.{body}"
    public = shop.keys.private.as_pem(private=False)
    confused = f"{signed_part}.{segment(hmac.digest(public, signed_part.encode(), 'sha256'))}"
    assert_problem(await get(shop, confused), 401, "token_invalid")


async def test_a_token_of_another_kind_is_invalid(shop: Served) -> None:
    assert_problem(await get(shop, signed(shop, {"typ": "logout+jwt"})), 401, "token_invalid")
    assert (await get(shop, signed(shop, {"typ": "at+jwt"}))).status_code == 200


async def test_a_missing_scope_is_named(shop: Served) -> None:
    answer = await get(shop, signed(shop, scope="bills:write"))
    assert assert_problem(answer, 403, "scope_missing")["detail"] == "This needs the scope bills:read."


async def test_a_tenant_that_is_not_served_here_is_forbidden(shop: Served) -> None:
    assert_problem(await get(shop, signed(shop, tenant="globex")), 403, "tenant_forbidden")


async def test_a_tenant_in_migration_is_unavailable_for_a_while(shop: Served) -> None:
    answer = await get(shop, signed(shop, tenant="moving"))
    assert_problem(answer, 503, "tenant_migrating")
    assert answer.headers["retry-after"] == "5"


async def test_before_and_after_the_service_runs_its_tenants_are_unavailable(shop: Served) -> None:
    shop.app.state.runtime = None
    assert_problem(await get(shop, signed(shop)), 503, "tenant_unavailable")


async def test_a_merchants_token_is_good_for_that_merchant_only(shop: Served) -> None:
    good = {"Authorization": f"Bearer {signed(shop, merchant='shop-1')}"}
    assert (await shop.post({"ref": "A"}, headers=good)).status_code == 201
    other = {"Authorization": f"Bearer {signed(shop, merchant='shop-2')}"}
    found = assert_problem(await shop.post({"ref": "A"}, headers=other), 403, "scope_missing")
    assert found["detail"] == "This token is for the merchant shop-2 only."


async def test_a_route_that_does_not_say_otherwise_lets_no_merchants_token_in(shop: Served) -> None:
    found = assert_problem(await get(shop, signed(shop, merchant="shop-1")), 403, "scope_missing")
    assert found["detail"] == "This token is for the merchant shop-1 only."
    assert (await get(shop, signed(shop))).status_code == 200


async def test_who_may_not_come_in_is_told_nothing_about_the_body(shop: Served) -> None:
    answer = await shop.client.post("/v1/sales", content=b"{", headers={"Content-Type": "application/json"})
    assert_problem(answer, 401, "token_missing")


# ---- keys ------------------------------------------------------------------------------------------


def key_set(path: Path, *keys: ECKey | RSAKey | OKPKey) -> Path:
    path.write_text(json.dumps({"keys": [key.as_dict(private=False) for key in keys]}))
    return path


def verifier(path: Path, *, clock: list[float] | None = None) -> Verifier:
    ticks = clock if clock is not None else [0.0]
    return Verifier(Keys(str(path), clock=lambda: ticks[0]), issuer="pointbank-dev", audience="pointbank")


def token_of(key: Any, alg: str, **changes: Any) -> str:
    return jwt.encode({"alg": alg, "kid": key.kid}, claims(**changes), key, algorithms=[alg])


@pytest.mark.filterwarnings("ignore:EdDSA")
async def test_each_allowed_algorithm_verifies(tmp_path: Path) -> None:
    rsa = RSAKey.generate_key(2048, {"kid": "r"})
    ec = ECKey.generate_key("P-256", {"kid": "e"})
    ed = OKPKey.generate_key("Ed25519", {"kid": "o"})
    checks = verifier(key_set(tmp_path / "jwks.json", rsa, ec, ed))
    for key, alg in ((rsa, "RS256"), (ec, "ES256"), (ed, "EdDSA"), (ed, "Ed25519")):
        assert (await checks.verify(token_of(key, alg))).subject == "till-7"


async def test_a_key_that_is_too_short_or_of_another_curve_verifies_nothing(tmp_path: Path) -> None:
    ec = ECKey.generate_key("P-384", {"kid": "e"})
    checks = verifier(key_set(tmp_path / "jwks.json", ec))
    with pytest.raises(TokenInvalid):
        await checks.verify(token_of(ec, "ES384"))


async def test_a_new_key_is_found_when_a_token_names_it_but_not_asked_for_all_the_time(
    tmp_path: Path,
) -> None:
    clock = [1000.0]
    first, second = ECKey.generate_key("P-256", {"kid": "1"}), ECKey.generate_key("P-256", {"kid": "2"})
    path = key_set(tmp_path / "jwks.json", first)
    checks = verifier(path, clock=clock)
    await checks.verify(token_of(first, "ES256"))
    key_set(path, first, second)
    with pytest.raises(TokenInvalid):
        await checks.verify(token_of(second, "ES256"))
    clock[0] += RETRY_S + 1
    assert (await checks.verify(token_of(second, "ES256"))).tenant == "acme"


async def test_a_withdrawn_key_takes_its_remembered_tokens_with_it(tmp_path: Path) -> None:
    clock = [1000.0]
    first, second = ECKey.generate_key("P-256", {"kid": "1"}), ECKey.generate_key("P-256", {"kid": "2"})
    path = key_set(tmp_path / "jwks.json", first)
    checks = verifier(path, clock=clock)
    token = token_of(first, "ES256")
    await checks.verify(token)
    key_set(path, second)
    assert (await checks.verify(token)).tenant == "acme"
    clock[0] += MAX_AGE_S + 1
    with pytest.raises(TokenInvalid):
        await checks.verify(token)


async def test_the_last_keys_stay_in_force_while_the_set_cant_be_read(tmp_path: Path) -> None:
    clock = [1000.0]
    key = ECKey.generate_key("P-256", {"kid": "1"})
    path = key_set(tmp_path / "jwks.json", key)
    checks = verifier(path, clock=clock)
    await checks.verify(token_of(key, "ES256"))
    path.write_text("not json")
    clock[0] += MAX_AGE_S + 1
    assert (await checks.verify(token_of(key, "ES256", sub="till-8"))).subject == "till-8"
    assert checks.keys.failure == "the key set can't be read: DecodeError"


async def test_members_of_a_key_set_that_we_dont_use_are_passed_over(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256", {"kid": "1"})
    strangers: list[dict[str, Any]] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "1"},
        {"kty": "EC", "crv": "P-999", "kid": "1"},
        {**key.as_dict(private=False), "use": "enc"},
    ]
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [*strangers, key.as_dict(private=False)]}))
    assert (await verifier(path).verify(token_of(key, "ES256"))).subject == "till-7"


async def test_without_any_keys_nobody_can_be_judged(tmp_path: Path) -> None:
    async with served(tmp_path) as shop:
        shop.app.state.verifier = Verifier(Keys(None), issuer="pointbank-dev", audience="pointbank")
        assert_problem(await get(shop, signed(shop)), 503, "tenant_unavailable")
        ready = await shop.client.get("/readyz")
        assert ready.status_code == 503
        assert {
            "name": "token_keys",
            "ok": False,
            "detail": "the key set can't be read: ValueError",
        } in ready.json()["checks"]


async def test_a_remembered_token_expires_all_the_same(tmp_path: Path) -> None:
    now = [time.time()]
    key = ECKey.generate_key("P-256", {"kid": "1"})
    keys = Keys(str(key_set(tmp_path / "jwks.json", key)), clock=lambda: 0.0)
    checks = Verifier(keys, issuer="pointbank-dev", audience="pointbank", now=lambda: now[0])
    token = token_of(key, "ES256")
    await checks.verify(token)
    now[0] += 61
    with pytest.raises(TokenExpired):
        await checks.verify(token)


async def test_a_remembered_token_costs_microseconds(shop: Served) -> None:
    """A hot call must not pay for a signature: the counter is key look-ups, not seconds."""
    checks: Verifier = shop.app.state.verifier
    token = signed(shop)
    await checks.verify(token)
    shop.app.state.verifier.keys._keys.clear()
    for _ in range(100):
        assert (await checks.verify(token)).subject == "till-7"
