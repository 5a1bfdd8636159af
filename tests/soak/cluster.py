"""Pods: replicas that each have an address, a nameserver that names them, the gateway that finds them by it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec

from shared.config import Settings
from shared.messaging.keys import SERVICES
from shared.tenants.provision import prepare_control
from tests.soak.test_hanging import up
from tests.support.dns import Nameserver
from tests.support.haproxy import Edge
from tests.support.processes import ALL, Fleet
from tests.support.town import Town, found_town, leave

PRE_STOP_S = 5.0
"""A pod that ends goes on for so long before it is told to stop (deploy/k8s/base)."""
SEEN_S = 3.0
"""By then each has been asked. Before, one check that fails is enough: they are taken for well on trust."""


@dataclass
class Cluster:
    """Pods, their names, the gateway that finds them, and a town whose callers come through it."""

    fleet: Fleet
    dns: Nameserver
    edge: Edge
    town: Town

    def name(self, *pods: str) -> None:
        """DNS names these pods and no others."""
        hosts = [self.fleet.replicas[pod].host for pod in pods]
        self.dns.names = {f"{service}-pods.test": hosts for service in SERVICES}

    def roll(self, old: str, new: str, *others: str) -> None:
        """As a Deployment with maxSurge 1: a new one, and when that is ready the old one ends. Names are of who is ready."""
        self.fleet.start(new)
        self.fleet.wait_ready(self.town.tenant, names=[new])
        self.name(new, *others)
        time.sleep(PRE_STOP_S)
        self.fleet.stop(old)

    def calls(self) -> list[dict[str, Any]]:
        """What the gateway has logged, a call a line."""
        lines = (self.edge.folder / "haproxy.log").read_bytes().splitlines()
        return [msgspec.json.decode(line) for line in lines if line.startswith(b"{")]

    def ask(self) -> httpx.Response:
        path = f"/v1/wallets/{self.town.cards[0].wallet_id}/balance"
        return self.edge.ask("GET", path, token=self.fleet.token("till", self.town.tenant))


@contextmanager
def running_cluster(settings: Settings, folder: Path, *, options: Sequence[str] = ()) -> Iterator[Cluster]:
    """Two pods of all services, both in turn. `options`: more of the gateway's."""
    own = settings.model_copy(update={"control_database": f"pointbank_names_{secrets.token_hex(4)}"})
    asyncio.run(prepare_control(own))
    with (
        Fleet(own, folder, services=(ALL,), replicas=2, pods=True).running() as fleet,
        Nameserver().running() as dns,
    ):
        town = asyncio.run(found_town(fleet, f"n{secrets.token_hex(3)}", members=20))
        port = fleet.replicas["all-1"].port
        backends = {name: [f"{name}-pods.test:{port}"] for name in SERVICES}
        given = [f"--dns=127.0.0.1:{dns.port}", "--replicas=6", "--limit=1000000", *options]
        edge = Edge(folder / "edge", fleet.keys.jwks, backends, options=given)
        made = Cluster(fleet, dns, edge, replace(town, base_url=edge.base_url))
        made.name("all-1", "all-2")
        with edge.running(checked=False):
            within(5.0, lambda: up(edge) == 2)
            time.sleep(SEEN_S)
            yield made
        asyncio.run(leave(town))


def within(seconds: float, true: Callable[[], bool]) -> float:
    """Seconds until it is true."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
    return time.monotonic() - began
