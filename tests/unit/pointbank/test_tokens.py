"""Development tokens: each role has what it needs, and nothing that would let one hand check the other."""

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from pointbank.allinone import merged_openapi
from pointbank.tokens import ROLES, dev_keys, issue
from shared.http.auth import Principal, Verifier
from shared.http.keys import Keys
from shared.http.problems import TokenExpired

# contract.md, "Scopes and roles"; and those for the catalogue of rewards, gift cards, transfers, merges, and what people put right
LISTED = """
programmes:read programmes:write programmes:activate merchants:write members:read members:write members:merge contacts:read
bills:read bills:write refunds:write wallets:read redemptions:read redemptions:write tiers:read tiers:override messages:read
rewards:read rewards:write transfers:write giftcards:read giftcards:write giftcards:issue giftcards:block
adjustments:read adjustments:request adjustments:approve audit:read ops:read ops:write tenants:admin
"""
SCOPES = set(LISTED.split())


def test_the_roles_are_the_contracts_and_share_out_all_its_scopes() -> None:
    assert list(ROLES) == [
        "till",
        "ecommerce",
        "crm",
        "marketer",
        "support",
        "finance",
        "auditor",
        "operator",
        "admin",
    ]
    assert set().union(*(role.scopes for role in ROLES.values())) == SCOPES


@pytest.mark.parametrize(
    "apart",
    [
        {"programmes:write", "adjustments:approve"},
        {"adjustments:request", "adjustments:approve"},
        {"contacts:read", "audit:read"},
        {"giftcards:issue", "giftcards:block"},
        {"tenants:admin", "bills:write"},
        {"tenants:admin", "adjustments:approve"},
    ],
    ids=sorted,
)
def test_no_role_has_both(apart: set[str]) -> None:
    assert [name for name, role in ROLES.items() if apart <= role.scopes] == []


@pytest.mark.parametrize(
    ("operation", "roles"),
    [
        ("GET /v1/adjustments", {"support", "finance", "auditor"}),
        ("GET /v1/adjustments/{adjustment_id}", {"support", "finance", "auditor"}),
        ("GET /v1/disputes", {"support", "finance", "auditor"}),
        ("GET /v1/disputes/{dispute_id}", {"support", "finance", "auditor"}),
        ("POST /v1/rewards/affordable", {"till", "ecommerce", "crm", "support"}),
        ("POST /v1/members/{member_id}/merge", {"crm", "support"}),
    ],
)
def test_who_may_ask_is_who_may_know_the_answer(operation: str, roles: set[str]) -> None:
    method, path = operation.lower().split(" ")
    wanted = set(merged_openapi()["paths"][path][method]["security"][0]["bearer"])
    assert {name for name, role in ROLES.items() if wanted <= role.scopes} == roles


def test_an_auditor_changes_nothing() -> None:
    assert {scope.partition(":")[2] for scope in ROLES["auditor"].scopes} == {"read"}


async def test_a_token_opens_what_its_role_may(tmp_path: Path) -> None:
    keys = dev_keys(tmp_path)
    checks = Verifier(Keys(str(keys.jwks)), issuer="pointbank-dev", audience="pointbank")
    token = issue(keys, role="till", tenant="acme", subject="till-7", merchant="riyadh-mall")
    assert await checks.verify(token) == Principal(
        "acme", "till-7", ROLES["till"].scopes, "riyadh-mall", "service"
    )
    person = await checks.verify(issue(keys, role="support", tenant="acme", subject="noor"))
    assert (person.kind, person.merchant, person.mfa) == ("person", None, False)
    assert (await checks.verify(issue(keys, role="support", tenant="acme", subject="noor", mfa=True))).mfa
    with pytest.raises(TokenExpired):
        await checks.verify(issue(keys, role="till", tenant="acme", subject="t", ttl=timedelta(seconds=-1)))


def test_the_key_pair_is_made_once_and_its_private_half_is_the_owners(tmp_path: Path) -> None:
    first, second = dev_keys(tmp_path / "keys"), dev_keys(tmp_path / "keys")
    assert first.private.as_dict(private=True) == second.private.as_dict(private=True)
    assert stat.S_IMODE((tmp_path / "keys" / "token-key.json").stat().st_mode) == 0o600
    [member] = json.loads(first.jwks.read_text())["keys"]
    assert (member["kty"], member["crv"], member["alg"], "d" in member) == ("EC", "P-256", "ES256", False)
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["jwks.json", "token-key.json"]


def test_an_unknown_role_has_no_token(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        issue(dev_keys(tmp_path), role="root", tenant="acme", subject="x")
