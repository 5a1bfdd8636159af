"""A gateway that is told names: their addresses come and go while it runs, and it knows that it begins with none."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from pointbank.allinone import SERVICES
from tests.deploy.test_observing import GATEWAY
from tests.gate.test_gateway import balance
from tests.support.dns import Nameserver
from tests.support.haproxy import Edge
from tests.support.http import assert_problem
from tests.support.processes import Fleet
from tests.support.town import Town


def within(seconds: float, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_replicas_are_found_by_their_names_and_who_has_found_none_says_so(
    folder: Path, jwks: Path, fleet: Fleet, town: Town
) -> None:
    token = fleet.token("till", town.tenant)
    names = {f"{name}-pods.test": ["127.0.0.1"] for name in SERVICES}
    backends = {name: [f"{name}-pods.test:{one.port}" for one in fleet.of(name)] for name in SERVICES}
    with Nameserver().running() as dns:
        own = Edge(folder / "names", jwks, backends, options=[f"--dns=127.0.0.1:{dns.port}", "--replicas=3"])
        with own.running():
            assert own.ask("GET", "/startz").status_code == 503
            assert own.ask("GET", "/healthz").status_code == 200
            answer = own.ask("GET", balance(town), token=token)
            assert_problem(answer, 503, "tenant_unavailable")
            assert answer.headers["retry-after"] == "5"

            dns.names.update(names)
            within(5, lambda: own.ask("GET", "/startz").status_code == 200)
            within(5, lambda: own.ask("GET", balance(town), token=token).status_code == 200)
            shown = httpx.get(f"http://127.0.0.1:{own.metrics_port}/metrics?no-maint", trust_env=False).text
            assert set(dns.asked) == set(names)

    series = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(shown)
        for sample in family.samples
    }
    assert {name: series.get(name) for name in GATEWAY} == GATEWAY, "rules ask for it"
    places = {line.split('"')[3] for line in shown.splitlines() if line.startswith("haproxy_server_status{")}
    assert places == {f"{name}1-1" for name in SERVICES}, "two places of each are free, and tell nothing"
