"""A gateway that is told names: their addresses come and go while it runs, and it knows that it begins with none."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from shared.messaging.keys import SERVICES
from tests.deploy.test_observing import GATEWAY
from tests.gate.test_gateway import balance
from tests.support.dns import Nameserver
from tests.support.haproxy import Edge
from tests.support.http import assert_problem
from tests.support.patience import PATIENCE_S
from tests.support.processes import Fleet
from tests.support.town import Town


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class OfEarn(BaseHTTPRequestHandler):
    """What a process of earn says at its address."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Pointbank-Service", "earn")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def in_turn(edge: Edge) -> dict[str, float]:
    """How many replicas of each service are asked, and how many names are answered."""
    shown = httpx.get(f"http://127.0.0.1:{edge.metrics_port}/metrics", trust_env=False).text
    return {
        sample.labels["proxy"]: sample.value
        for family in text_string_to_metric_families(shown)
        for sample in family.samples
        if sample.name == "haproxy_backend_active_servers" and sample.labels["proxy"] in {"names", *SERVICES}
    }


def test_an_address_that_is_another_services_now_is_asked_nothing(folder: Path, jwks: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), OfEarn) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever, 0.05)
        backends = {name: [f"127.0.0.1:{server.server_port}"] for name in SERVICES}
        with Edge(folder / "another", jwks, backends).running(checked=False) as own:
            expected = dict.fromkeys(SERVICES, 0.0) | {"earn": 1.0}
            until(lambda: in_turn(own) == expected)
        server.shutdown()


def test_replicas_are_found_by_their_names_and_who_has_found_none_says_so(
    folder: Path, jwks: Path, fleet: Fleet, town: Town
) -> None:
    token = fleet.token("till", town.tenant)
    names = {f"{name}-pods.test": ["127.0.0.1"] for name in SERVICES}
    backends = {name: [f"{name}-pods.test:{one.port}" for one in fleet.of(name)] for name in SERVICES}
    with Nameserver().running() as dns:
        own = Edge(folder / "names", jwks, backends, options=[f"--dns=127.0.0.1:{dns.port}", "--replicas=3"])
        with own.running(checked=False):
            assert own.ask("GET", "/startz").status_code == 503
            assert own.ask("GET", "/healthz").status_code == 200
            assert in_turn(own) == dict.fromkeys(("names", *SERVICES), 0.0)
            answer = own.ask("GET", balance(town), token=token)
            assert_problem(answer, 503, "tenant_unavailable")
            assert answer.headers["retry-after"] == "5"

            dns.names.update(names)
            until(lambda: own.ask("GET", "/startz").status_code == 200)
            until(lambda: own.ask("GET", balance(town), token=token).status_code == 200)
            until(lambda: in_turn(own)["names"] == len(SERVICES))
            shown = httpx.get(f"http://127.0.0.1:{own.metrics_port}/metrics?no-maint", trust_env=False).text
            assert set(dns.asked) == set(names)

    series = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(shown)
        for sample in family.samples
    }
    assert {name: series.get(name) for name in GATEWAY} == GATEWAY, "rules ask for it"
    places = {line.split('"')[3] for line in shown.splitlines() if line.startswith("haproxy_server_status{")}
    places -= {f"name{number}" for number in range(1, len(SERVICES) + 1)}
    assert places == {f"{name}1-1" for name in SERVICES}, "two places of each are free, and tell nothing"
