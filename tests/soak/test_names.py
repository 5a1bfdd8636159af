"""Replicas behind the gateway as pods are: each has an address, DNS names them, they come, end, hang and are gone."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from pointbank.allinone import SERVICES
from shared.config import Settings
from shared.tenants.provision import prepare_control
from tests.soak.bounds import TAKE_OVER_S
from tests.soak.test_hanging import standing_still, up
from tests.support.dns import Nameserver
from tests.support.haproxy import Edge
from tests.support.http import assert_problem
from tests.support.processes import ALL, Fleet
from tests.support.telling import Tell
from tests.support.town import Load, Town, found_town, leave

pytestmark = pytest.mark.soak

PRE_STOP_S = 5.0
"""A pod that ends goes on for so long before it is told to stop (deploy/k8s/base)."""
SEEN_S = 3.0
"""By then each has been asked. Before, one check that fails is enough: they are taken for well on trust."""
AWAY_S = 40.0
"""Longer than HAProxy would keep addresses by itself (30 s)."""


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


@pytest.fixture
def cluster(settings: Settings, tmp_path: Path) -> Iterator[Cluster]:
    own = settings.model_copy(update={"control_database": f"pointbank_names_{secrets.token_hex(4)}"})
    asyncio.run(prepare_control(own))
    with (
        Fleet(own, tmp_path, services=(ALL,), replicas=2, pods=True).running() as fleet,
        Nameserver().running() as dns,
    ):
        town = asyncio.run(found_town(fleet, f"n{secrets.token_hex(3)}", members=20))
        port = fleet.replicas["all-1"].port
        backends = {name: [f"{name}-pods.test:{port}"] for name in SERVICES}
        options = [f"--dns=127.0.0.1:{dns.port}", "--replicas=6", "--limit=1000000"]
        edge = Edge(tmp_path / "edge", fleet.keys.jwks, backends, options=options)
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


def test_callers_see_nothing_of_a_rollout_of_a_nameserver_that_is_away_and_of_a_pod_that_dies(
    cluster: Cluster, tell: Tell
) -> None:
    fleet, dns, town = cluster.fleet, cluster.dns, cluster.town

    async def goes_on() -> None:
        async with town.open() as trade, Load(trade, random.Random(7), callers=4).running() as load:
            await asyncio.to_thread(cluster.roll, "all-1", "all-3", "all-2")
            await asyncio.to_thread(cluster.roll, "all-2", "all-4", "all-3")
            rolled = sum(load.called.values())
            dns.silent = True
            await asyncio.sleep(AWAY_S)
            assert up(cluster.edge) == 2, "the last addresses are kept"
            fleet.kill("all-3")
            out_after = await asyncio.to_thread(within, TAKE_OVER_S, lambda: up(cluster.edge) == 1)
            before = sum(load.called.values())
            await asyncio.sleep(3.0)
            assert sum(load.called.values()) > before
            cluster.name("all-4")
            dns.silent = False
            tell(
                f"{rolled} calls during two rollouts, {before} in all, one killed was out of turn after {out_after:.1f} s"
            )

    asyncio.run(goes_on())
    calls = cluster.calls()
    assert len(calls) > 200
    assert [call for call in calls if not 200 <= call["status"] < 500] == []
    asyncio.run(town.verified())


def test_a_pod_that_hangs_is_passed_over_and_when_none_is_left_callers_are_told_and_new_ones_found(
    cluster: Cluster, tell: Tell
) -> None:
    fleet, edge = cluster.fleet, cluster.edge
    with standing_still(fleet.replicas["all-1"].pid), ThreadPoolExecutor(4) as callers:
        held = [callers.submit(cluster.ask) for _ in range(4)]
        out_after = within(TAKE_OVER_S, lambda: up(edge) == 1)
        assert [call.result().status_code for call in held] == [200] * 4
    within(TAKE_OVER_S, lambda: up(edge) == 2)

    for pod in ("all-1", "all-2"):
        fleet.stop(pod)
    answer = cluster.ask()
    assert_problem(answer, 503, "tenant_unavailable")
    assert answer.headers["retry-after"] == "5"
    cluster.dns.names = {name: [] for name in cluster.dns.names}
    within(TAKE_OVER_S, lambda: up(edge) == 0)
    assert_problem(cluster.ask(), 503, "tenant_unavailable")

    fleet.start("all-3")
    cluster.name("all-3")
    fleet.wait_ready(cluster.town.tenant, names=["all-3"])
    found_after = within(TAKE_OVER_S, lambda: cluster.ask().status_code == 200)
    tell(
        f"hanging: out of turn after {out_after:.1f} s; a new one after none: asked {found_after:.1f} s after it was ready"
    )
