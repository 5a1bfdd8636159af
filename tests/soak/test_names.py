"""Replicas behind the gateway as pods are: each has an address, DNS names them, they come, end, hang and are gone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.config import Settings
from tests.soak.bounds import TAKE_OVER_S
from tests.soak.cluster import Cluster, running_cluster, within
from tests.soak.test_hanging import standing_still, up
from tests.support.http import assert_problem
from tests.support.telling import Tell
from tests.support.town import Load

pytestmark = pytest.mark.soak

AWAY_S = 40.0
"""Longer than HAProxy would keep addresses by itself (30 s)."""


@pytest.fixture
def cluster(settings: Settings, tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(settings, tmp_path) as made:
        yield made


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
