"""Alerts that take minutes to fire: real processes, a real Prometheus with the rules as shipped, and time as it passes."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from pointbank.verify import verify_tenant, wait_until_settled
from shared.config import Settings
from shared.messaging.keys import SERVICES
from tests.faults.conftest import World, running_world
from tests.soak.alarms import ALONE, AT_THE_DOOR, TOGETHER, Door, Site, Trial, probe
from tests.soak.alarms.gateway import CONNECTIONS, nobody_is_left
from tests.soak.cluster import running_cluster
from tests.support.copies import copy_tenant
from tests.support.prometheus import Prometheus
from tests.support.provider import ADDRESS, Provider
from tests.support.telling import Tell
from tests.support.town import Town, found_town, leave

pytestmark = pytest.mark.soak

AT_MOST_S = 50 * 60
SETTLED_S = 15 * 60.0
"""What a provider refused for ten minutes is due again as much later: each pause is twice the one before."""
CHOSEN = "POINTBANK_SOAK_TRIALS"
"""Names of trials, with commas between: only these are made."""
Where = TypeVar("Where", Site, Door)
ONE_EACH = dict.fromkeys(SERVICES, 1)


@pytest.fixture(autouse=True)
def _long_enough() -> Iterator[None]:
    """No other test may take so long: alerts fire after so many minutes."""
    faulthandler.dump_traceback_later(AT_MOST_S, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def test_each_alert_fires_for_its_cause_and_goes_when_the_runbook_was_followed(
    tell: Tell, tmp_path: Path
) -> None:
    towns = ("books", "busy", "lag", "owed", "broken", "retry", "slow")
    with site_of(towns, {**ONE_EACH, "tiers": 2, "notifier": 2}, tmp_path) as site:
        asyncio.run(_try_all(site, [list(TOGETHER)], tell))


def test_alerts_about_relays_and_pools_do_so_too(tell: Tell, tmp_path: Path) -> None:
    with site_of(("halted", "pool", "away"), ONE_EACH, tmp_path) as site:
        first, *others, last = ALONE
        asyncio.run(_try_all(site, [[first], others, [last]], tell))


def test_alerts_of_the_gateway_do_so_too(settings: Settings, tell: Tell, tmp_path: Path) -> None:
    options = [f"--connections={CONNECTIONS}"]
    with running_cluster(settings, tmp_path, options=options) as cluster:
        other = asyncio.run(found_town(cluster.fleet, f"{cluster.town.tenant}x", members=2))
        doors = [cluster.edge.metrics_port]
        with Prometheus(tmp_path / "prometheus", [], doors).running() as watch:
            asyncio.run(_try_at_the_door(Door(cluster, watch, tmp_path, other), tell))
        asyncio.run(leave(other))


async def _try_at_the_door(door: Door, tell: Tell) -> None:
    if not _chosen(nobody_is_left):
        door.found.set()
    async with door.calling():
        wrong = await asyncio.gather(*[_tried(one, door, door.watch) for one in AT_THE_DOOR if _chosen(one)])
    for line in door.watch.history:
        tell(line)
    tell(f"calls: {dict(door.answered)}")
    assert [one for one in wrong if one is not None] == []
    await _trades(door.cluster.town)
    await door.cluster.town.verified()


async def _trades(town: Town) -> None:
    """Bills by stream and through the gateway: each is answered."""
    async with town.open() as trade:
        await trade.till.offer([town.offer(bill) for bill in town.bills(10)], timeout_s=60)
        for bill in town.bills(10):
            assert (await trade.call(town.post(bill))).status in {201, 202}
        await trade.till.wait(settled=True, timeout_s=SETTLED_S)


@contextmanager
def site_of(names: Sequence[str], replicas: Mapping[str, int], folder: Path) -> Iterator[Site]:
    """A fleet with towns of these names, watched."""
    seals = folder / "seals"
    seals.mkdir()
    (seals / "busy").write_text("in the way")
    with ExitStack() as stack:
        provider = stack.enter_context(Provider().running())
        more = {
            ADDRESS: f"http://127.0.0.1:{provider.port}/",
            "POINTBANK_SEAL_FOLDER": str(seals),
        }
        apps = {"notifier": "tests.support.provider:create"}
        world = stack.enter_context(running_world(environment=more, apps=apps, replicas=replicas))
        towns = asyncio.run(_towns(world, names))
        ports = [one.port for one in world.fleet.replicas.values()]
        watch = stack.enter_context(Prometheus(world.fleet.folder / "prometheus", ports).running())
        yield Site(world, watch, provider, seals, towns)


async def _towns(world: World, names: Sequence[str]) -> dict[str, Town]:
    return {name: await found_town(world.fleet, name, members=8, make=copy_tenant) for name in names}


async def _try_all(site: Site, phases: Sequence[Sequence[Trial]], tell: Tell) -> None:
    wrong: list[object] = []
    async with AsyncExitStack() as opened:
        for name, town in site.towns.items():
            site.trades[name] = await opened.enter_async_context(town.open())
        ended = asyncio.Event()
        probing = asyncio.create_task(probe(site, ended))
        for phase in phases:
            wrong += await asyncio.gather(*[_tried(one, site, site.watch) for one in phase if _chosen(one)])
        wrong += await asyncio.gather(*site.extra, return_exceptions=True)
        ended.set()
        await probing
        for line in site.watch.history:
            tell(line)
        assert [one for one in wrong if one is not None] == []
        for trade in site.trades.values():
            await trade.till.wait(settled=True, timeout_s=120)
    for name, town in site.towns.items():
        # Of what a restored tenant has lost its till was answered for all the same.
        journal = None if name == "halted" else town.journal
        await wait_until_settled(town.settings, name, journal=journal, timeout_s=SETTLED_S)
        report = await verify_tenant(town.settings, name, journal=journal)
        assert report, [(check.name, check.examples) for check in report.broken]
        await leave(town)


def _chosen(trial: Callable[..., object]) -> bool:
    chosen = os.environ.get(CHOSEN, "")
    return not chosen or trial.__name__ in chosen.split(",")


async def _tried(trial: Callable[[Where], Awaitable[None]], where: Where, watch: Prometheus) -> str | None:
    """What was wrong with it; told at once, for the others go on for long."""
    try:
        await trial(where)
    except Exception:  # noqa: BLE001  # one trial's failure is not the others'
        said = f"{trial.__name__}: {traceback.format_exc()}"
        watch.history.append(said)
        print(said, flush=True)  # noqa: T201
        return trial.__name__
    return None
