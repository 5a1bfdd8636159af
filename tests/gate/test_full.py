"""A gateway with all the connections that it may have: callers wait, who watches it does not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from shared.messaging.keys import SERVICES
from tests.support.haproxy import NO_TLS, Edge
from tests.support.patience import PATIENCE_S

MOST = 4


@contextmanager
def held(edge: Edge, count: int) -> Iterator[list[socket.socket]]:
    """So many callers, each of whom was answered and keeps its connection."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            caller = stack.enter_context(
                socket.create_connection(("127.0.0.1", edge.port), timeout=PATIENCE_S)
            )
            caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n")
            assert b" 200 " in caller.recv(4096)
            made.append(caller)
        yield made


def test_a_full_gateway_can_still_be_watched_and_lets_the_next_caller_in_when_one_goes(
    folder: Path, jwks: Path
) -> None:
    nobody = {name: ["127.0.0.1:1"] for name in SERVICES}
    options = [f"--connections={MOST}"]
    with (
        Edge(folder / "full", jwks, nobody, options=options).running(checked=False) as edge,
        httpx.Client(
            base_url=f"http://127.0.0.1:{edge.metrics_port}",
            timeout=PATIENCE_S,
            trust_env=False,
            verify=NO_TLS,
        ) as watcher,
        held(edge, MOST) as callers,
        socket.create_connection(("127.0.0.1", edge.port), timeout=0.2) as waits,
    ):
        waits.sendall(b"GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n")
        with pytest.raises(TimeoutError):
            waits.recv(4096)
        shown = watcher.get("/metrics").text
        assert f'haproxy_frontend_current_sessions{{proxy="edge"}} {MOST}\n' in shown
        assert f'haproxy_frontend_limit_sessions{{proxy="edge"}} {MOST}\n' in shown
        assert watcher.get("/healthz").text == "ok"
        callers[0].close()
        waits.settimeout(PATIENCE_S)
        assert b" 200 " in waits.recv(4096)
