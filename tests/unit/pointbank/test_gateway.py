"""The gateway's files: every route of the interface and no other, every key it can use, and nothing it can't be told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey

from pointbank.allinone import merged_openapi, service_of
from pointbank.gateway.build import Choices, files, routes, servers_of, write
from pointbank.gateway.errors import CannotBuild
from shared.http.openapi import Document
from shared.ids import uuid7
from shared.messaging.keys import SERVICES

EC = ECKey.generate_key("P-256", {"kid": "one", "use": "sig"})
CHOICES = Choices("https://id.example.com", "pointbank", "/etc/gateway", servers_of(()))


def jwks(*keys: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


MORE: dict[str, dict[str, Any]] = {"/v1/rewards/affordable": {"get": {}, "put": {}}}
"""What an exact address may beside its own operations, for a code may be its last word."""
ONE = jwks(EC.as_dict(private=False))


@cache
def interface() -> Document:
    """Once for all tests: making it takes a second."""
    return merged_openapi()


def made_of(choices: Choices = CHOICES, keys: bytes = ONE) -> dict[str, str]:
    return files(choices, keys, interface())


def routed(table: str, path: str) -> tuple[str, str] | None:
    """(service, methods) of the first line that fits, as HAProxy reads the table."""
    for line in table.splitlines():
        pattern, _, value = line.partition(" ")
        if re.search(pattern, path):
            service, _, methods = value.partition(":")
            return service, methods
    return None


def test_every_route_of_the_interface_is_let_through_to_its_service_with_its_methods() -> None:
    table = made_of()["routes.map"]
    known = interface()["paths"]
    assert len(table.splitlines()) == len(known)
    for path, operations in known.items():
        asked = re.sub(r"\{\w+\}", str(uuid7()), path)
        methods = ",".join(sorted(method.upper() for method in operations | MORE.get(path, {})))
        assert routed(table, asked) == (service_of(path), methods), path
        assert routed(table, asked + "/") is None
        assert routed(table, "/x" + asked) is None


def test_a_code_may_be_a_word_of_the_interface_and_an_id_is_none() -> None:
    """A reward that is called `affordable`; no benefit is called `use`."""
    table = made_of()["routes.map"]
    assert routed(table, "/v1/rewards/affordable") == ("redeem", "GET,POST,PUT")
    assert routed(table, "/v1/rewards/coffee") == ("redeem", "GET,PUT")
    assert routed(table, "/v1/benefits/use") == ("redeem", "POST")


def test_the_exact_comes_before_what_holds_a_parameter() -> None:
    table = made_of()["routes.map"]
    assert routed(table, "/v1/members/lookup") == ("members", "POST")
    assert routed(table, "/v1/members/01a1f82f-1e80-7e8d-8405-0873dba865aa") == ("members", "GET")


def test_a_route_that_no_service_answers_is_no_gateway() -> None:
    with pytest.raises(CannotBuild, match="no service answers /v1/unheard"):
        routes({"paths": {"/v1/unheard": {"get": {}}}})


def test_an_optional_private_half_of_a_key_is_not_written_anywhere() -> None:
    made = made_of(keys=jwks(EC.as_dict(private=True)))
    assert "PRIVATE" not in "".join(made.values())
    assert str(EC.as_dict(private=True)["d"]) not in "".join(made.values())
    assert made["key-1.pem"].startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ([OKPKey.generate_key("Ed25519", {"kid": "ed"}).as_dict(private=False)], "no key for RS256 or ES256"),
        ([{**EC.as_dict(private=False), "kid": "a' } or { always_true"}], "characters"),
        ([], "no key for RS256 or ES256"),
    ],
)
def test_keys_that_can_not_be_used_are_told(keys: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(CannotBuild, match=says):
        made_of(keys=jwks(*keys))


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://id' } || { always_true"},
        {"audience": "two words"},
        {"audience": 'a"b'},
        {"folder": "/etc/x\n    http-request allow"},
        {"tls": "/etc/x y"},
        {"dns": ["127.0.0.11"]},
        {"backends": servers_of(["earn=earn:8000 disabled"])},
        {"backends": {"earn": ["earn:8000"]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_would_be_read_as_configuration_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CannotBuild):
        made_of(replace(CHOICES, **changes))


def test_an_unknown_service_is_refused() -> None:
    with pytest.raises(CannotBuild, match="nobody"):
        servers_of(["nobody=1.2.3.4:5"])
    assert servers_of(["earn=a:1", "earn=b:2"])["earn"] == ["a:1", "b:2"]
    assert servers_of(())["tiers"] == ["tiers:8000"]


def test_two_runs_write_the_same_and_leave_the_operators_files_alone(tmp_path: Path) -> None:
    write(tmp_path, made_of())
    (tmp_path / "allow.lst").write_text("192.0.2.0/24\n")
    (tmp_path / "key-7.pem").write_text("a key of before")
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    wrote = write(tmp_path, files(CHOICES, ONE))
    second = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert wrote == ["haproxy.cfg", "key-1.pem", "routes.map"]
    assert (first.pop("key-7.pem"), first) == (b"a key of before", second)


def test_each_service_has_a_backend(tmp_path: Path) -> None:
    text = made_of()["haproxy.cfg"]
    assert re.findall(r"^backend (\w+)$", text, re.MULTILINE) == ["tenants", *SERVICES]


def test_names_that_dns_must_answer_are_watched_once_each_and_addresses_are_not() -> None:
    given = ["redeem=10.0.0.7:8000", "redeem=[fd00::7]:8000", "tiers=all:8000", "notifier=all:8000"]
    choices = replace(CHOICES, backends=servers_of(given), dns=["10.0.0.2:53"])
    _, _, watched = made_of(choices)["haproxy.cfg"].partition("\nbackend names\n")
    servers = re.findall(r"^    server name\d+ (\S+) resolvers news init-addr none$", watched, re.MULTILINE)
    assert servers == ["all:8000", "earn:8000", "members:8000"]
    assert "backend names" not in made_of()["haproxy.cfg"]


def test_callers_have_the_connections_that_were_chosen_and_who_watches_has_more() -> None:
    text = made_of(replace(CHOICES, connections=100))["haproxy.cfg"]
    assert re.findall(r"^(\w+).*\n(?:    #.*\n)*    maxconn (\d+)$", text, re.MULTILINE) == [
        ("global", "164"),
        ("frontend", "100"),
    ]
