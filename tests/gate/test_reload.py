"""A gateway that is told to read its files anew, as deploy/gateway/README.md says for containers."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import yaml

from shared.messaging.keys import SERVICES
from tests.support.haproxy import Edge
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


def test_what_was_changed_holds_once_the_process_is_told_and_not_before(
    folder: Path, jwks: Path, token: str
) -> None:
    program, *words = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["gateway"][
        "command"
    ]
    assert (program, words[-2:]) == ("haproxy", ["-f", "/gateway/haproxy.cfg"])
    nobody = {name: ["127.0.0.1:1"] for name in SERVICES}
    [told] = set(re.findall(r"'kill -(\w+) 1'", (ROOT / "deploy" / "gateway" / "README.md").read_text()))
    with Edge(folder / "reload", jwks, nobody, words=words[:-2]).running(checked=False) as edge:

        def limit() -> str:
            answer = edge.ask("GET", "/v1/programmes", token=token)
            return answer.headers["RateLimit-Policy"]

        assert limit() == '"tenant";q=1000;w=10'
        (edge.folder / "limits.map").write_text("acme 7\n")
        assert limit() == '"tenant";q=1000;w=10'
        deadline = time.monotonic() + PATIENCE_S
        # HAProxy loses what it is told in the first moments that it listens.
        while limit() != '"tenant";q=7;w=10':
            assert time.monotonic() < deadline, edge.folder
            os.kill(edge.pid, getattr(signal, f"SIG{told}"))
            time.sleep(1)
