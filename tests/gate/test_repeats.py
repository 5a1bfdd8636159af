"""A write whose replica goes away is asked of another, however its body comes; one whose body does not come is ended."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.messaging.keys import SERVICES
from tests.support.haproxy import Edge
from tests.support.patience import PATIENCE_S
from tests.support.stub import Stub

LARGEST = 13_000
"""Bytes of a body that is repeated: with its head it fits into a buffer of 16 KiB."""


@contextmanager
def pair(folder: Path, jwks: Path) -> Iterator[tuple[Edge, Stub, Stub]]:
    """Within: a gateway with two replicas, of which the first goes away at each call."""
    with Stub(leaves=True).running() as leaves, Stub().running() as stays:
        backends = {name: [leaves.address, stays.address] for name in SERVICES}
        with Edge(folder / "pair", jwks, backends).running() as edge:
            yield edge, leaves, stays


@pytest.fixture(scope="module")
def edge_and_pair(folder: Path, jwks: Path) -> Iterator[tuple[Edge, Stub, Stub]]:
    with pair(folder, jwks) as made:
        yield made


def head(token: str, size: int) -> bytes:
    return (
        "POST /v1/bills HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nIdempotency-Key: k\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {size}\r\n\r\n"
    ).encode()


def posted_apart(edge: Edge, token: str, body: bytes) -> int:
    """The status of a write whose body comes a moment after its head, as clients in Python send it."""
    with socket.create_connection(("127.0.0.1", edge.port), timeout=20) as there:
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there.sendall(head(token, len(body)))
        time.sleep(0.02)
        there.sendall(body)
        answer = b"".join(iter(lambda: there.recv(65536), b""))
    return int(answer[9:12])


@pytest.mark.parametrize("size", [1, 600, LARGEST])
def test_a_write_whose_body_comes_after_its_head_is_asked_of_another_when_its_replica_goes(
    edge_and_pair: tuple[Edge, Stub, Stub], token: str, size: int
) -> None:
    edge, leaves, stays = edge_and_pair
    leaves.asked.clear()
    stays.asked.clear()
    bodies = [secret.ljust(size, "x").encode() for secret in "abcdefgh"]
    assert [posted_apart(edge, token, body) for body in bodies] == [200] * 8
    assert [one.body for one in stays.asked] == bodies, "each once, and whole"
    assert len(leaves.asked) > 0, "some were asked of the one that goes away"
    assert {one.headers["idempotency-key"][0] for one in leaves.asked + stays.asked} == {"k"}


def test_a_body_that_trickles_is_ended_after_the_time_of_a_request_and_takes_no_replica(
    edge_and_pair: tuple[Edge, Stub, Stub], token: str
) -> None:
    edge, leaves, stays = edge_and_pair
    before = len(leaves.asked) + len(stays.asked)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", edge.port), timeout=0.5) as there:
        there.sendall(head(token, 100))
        answer = b""
        while not answer and time.monotonic() - began < PATIENCE_S:
            there.sendall(b"x")
            try:
                answer = there.recv(65536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 408
    assert time.monotonic() - began > 4, "5 s are given, and not at once"
    assert len(leaves.asked) + len(stays.asked) == before


def test_who_may_not_call_is_told_before_the_body_came(edge_and_pair: tuple[Edge, Stub, Stub]) -> None:
    edge, _, _ = edge_and_pair
    with socket.create_connection(("127.0.0.1", edge.port), timeout=PATIENCE_S) as there:
        there.sendall(re.sub(rb"Authorization: .*?\r\n", b"", head("none", 100)))
        assert there.recv(65536).startswith(b"HTTP/1.1 401 ")
