"""What a replica gets of a call, whether it came as HTTP/1.1 or as HTTP/2, and what the log says of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from shared.messaging.keys import SERVICES
from tests.gate.certificates import certificate
from tests.support.haproxy import Edge
from tests.support.stub import Asked, Stub

BALANCE = f"/v1/wallets/{uuid4()}/balance"
PROTOCOLS = ["--http1.1", "--http2"]
TOLD: dict[str, list[str]] = {
    "x-tenant-id": ["acme"],
    "x-subject": ["till-7"],
    "x-forwarded-for": ["127.0.0.1"],
    "x-forwarded-proto": ["https"],
}
"""What only the gateway says."""
SPOOFED = [
    ("X-Tenant-Id", "evil"),
    ("x-tenant-id", "evil-2"),
    ("X_Tenant_Id", "evil"),
    ("X-Tenant_Id", "evil"),
    ("X-Tenant", "evil"),
    ("X-Subject", "root"),
    ("X_Subject", "root"),
    ("X-Forwarded-For", "203.0.113.66"),
    ("X_Forwarded_For", "203.0.113.66"),
    ("X-Forwarded-Host", "evil"),
    ("X-Forwarded-Proto", "gopher"),
    ("X-Forwarded-Scheme", "gopher"),
    ("X-Forwarded-Ssl", "off"),
    ("X-Forwarded-Client-Cert", "Subject=evil"),
    ("X-Real-Ip", "203.0.113.66"),
    ("X-Client-Ip", "203.0.113.66"),
    ("X-Cluster-Client-Ip", "203.0.113.66"),
    ("X-Envoy-External-Address", "203.0.113.66"),
    ("True-Client-Ip", "203.0.113.66"),
    ("Cf-Connecting-Ip", "203.0.113.66"),
    ("Client-Ip", "203.0.113.66"),
    ("X-Original-Url", "/v1/members"),
    ("X-Rewrite-Url", "/v1/members"),
    ("X-Http-Method-Override", "DELETE"),
    ("Forwarded", "for=203.0.113.66"),
    ("Proxy", "evil"),
    ("Http2-Settings", "AAMAAABkAAQAAP__"),
]


@dataclass(frozen=True, slots=True)
class Door:
    """A gateway with TLS before stubs, each call to it by curl in the protocol that is asked for."""

    edge: Edge
    stub: Stub
    trusted: Path

    def __call__(self, protocol: str, path: str, *headers: tuple[str, str]) -> tuple[str, int, str]:
        """(version of HTTP that was spoken, status, answer); the path goes out as it is written."""
        said = "\n%{http_version} %{http_code}"
        command = ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", "20", protocol, "--path-as-is"]
        command += ["--globoff", "--cacert", str(self.trusted), "-w", said]
        for name, value in headers:
            command += ["-H", f"{name}: {value}"]
        done = subprocess.run(
            [*command, f"https://localhost:{self.edge.port}{path}"],
            capture_output=True,
            text=True,
            check=True,
        )
        answer, _, last = done.stdout.rpartition("\n")
        version, status = last.split()
        return version, int(status), answer

    def passes_on(self, protocol: str, token: str, *headers: tuple[str, str]) -> Asked:
        """What came to the replica of a good call with these headers."""
        version, status, answer = self(protocol, BALANCE, ("Authorization", f"Bearer {token}"), *headers)
        assert (version, status, answer) == (spoken(protocol), 200, "{}")
        return self.stub.asked[-1]


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def spoken(protocol: str) -> str:
    return {"--http1.1": "1.1", "--http2": "2"}[protocol]


@contextmanager
def stubbed(folder: Path, jwks: Path, *options: str) -> Iterator[tuple[Edge, Stub]]:
    with Stub().running() as stub:
        own = Edge(folder, jwks, {name: [stub.address] for name in SERVICES}, options=options)
        with own.running() as edge:
            yield edge, stub


@pytest.fixture(scope="module")
def door(folder: Path, jwks: Path) -> Iterator[Door]:
    curl = shutil.which("curl")
    if curl is None or "HTTP2" not in _said([curl, "-V"]):
        pytest.skip("no curl that speaks HTTP/2: sudo apt-get install curl")
    both, trusted = certificate(folder)
    with stubbed(folder / "door", jwks, f"--tls={both}") as (edge, stub):
        yield Door(edge, stub, trusted)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_headers_that_only_the_gateway_may_set_are_its_own(door: Door, token: str, protocol: str) -> None:
    odd = [("X-Request-Id", 'a"b'), ("X-Request-Id", "second"), ("Prefer", "wait=3")]
    headers = door.passes_on(protocol, token, *SPOOFED, *odd).headers
    ours = {name: value for name, value in headers.items() if name in TOLD}
    assert ours == TOLD
    assert {name.lower() for name, _ in SPOOFED} & (headers.keys() - TOLD.keys()) == set()
    assert headers["prefer"] == ["wait=3"], "what is the caller's to say is handed on"
    [request_id] = headers["x-request-id"]
    assert len(request_id) == 36, "made here: what came was none, and twice"


def test_no_other_protocol_is_asked_for_in_a_callers_name_and_no_header_of_ours_taken_off(
    door: Door, token: str
) -> None:
    for wanted in ("h2c", "websocket"):
        more = [("HTTP2-Settings", "AAMAAABk"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
        named = ("Connection", "Upgrade, HTTP2-Settings, X-Tenant-Id, X-Subject")
        asked = door.passes_on("--http1.1", token, named, ("Upgrade", wanted), *more)
        assert {"upgrade", "http2-settings"} & asked.headers.keys() == set()
        assert asked.headers.get("connection", []) in ([], ["close"])
        assert asked.headers["x-tenant-id"] == ["acme"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/readyz",
        "//v1/bills",
        "/v1//bills",
        "/v1/bills/../bills",
        "/v1/bills/..%2fbills",
        "/v1/bills/%2e%2e/why",
        "/v1/../metrics",
        "/v1/wallets/../../metrics",
        "/v1/wallets/a%2Fb/balance",
        "/v1/wallets/%00/balance",
        "/v1/bills%20",
        "/v1/bills;x=1",
    ],
)
def test_only_addresses_of_the_interface_are_passed_on(
    door: Door, token: str, protocol: str, path: str
) -> None:
    before = len(door.stub.asked)
    version, status, answer = door(protocol, path, ("Authorization", f"Bearer {token}"))
    assert (version, status) == (spoken(protocol), 404)
    assert msgspec.json.decode(answer)["code"] == "not_found"
    assert len(door.stub.asked) == before


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_who_has_no_token_of_ours_is_refused(door: Door, token: str, protocol: str) -> None:
    before = len(door.stub.asked)
    for headers, code in {
        (): "token_missing",
        (("Authorization", f"Bearer {token[:-8]}AAAAAAAA"),): "token_invalid",
        (("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")): "token_invalid",
    }.items():
        version, status, answer = door(protocol, BALANCE, *headers)
        assert (version, status) == (spoken(protocol), 401)
        assert msgspec.json.decode(answer)["code"] == code
    assert len(door.stub.asked) == before


@pytest.mark.parametrize(
    "path",
    ["/v1/" + "a" * 3_000, "/v1/" + '"\\' * 3_000, "/v1/" + "%00" * 2_000],
    ids=["letters", "quotes", "escapes"],
)
def test_a_long_path_is_cut_in_the_log_whose_line_stays_an_object(door: Door, token: str, path: str) -> None:
    request_id = uuid4().hex
    _, status, _ = door("--http1.1", path, ("X-Request-Id", request_id))
    assert status == 404
    [line] = door.edge.lines(request_id)
    told = msgspec.json.decode(line)
    assert (told["path"], told["status"], told["ended"]) == (path[:1_024], 404, "LR--")
