"""Alerts that take minutes to fire: real processes, a real Prometheus with the rules as shipped, and time as it passes."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import traceback
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from pointbank.verify import verify_tenant
from tests.faults.conftest import World, running_world
from tests.soak.alarms import TRIALS, Site, Trial, probe
from tests.support.copies import copy_tenant
from tests.support.prometheus import Prometheus
from tests.support.provider import ADDRESS, Provider
from tests.support.telling import Tell
from tests.support.town import Town, found_town, leave

pytestmark = pytest.mark.soak

TOWNS = ("books", "busy", "lag", "owed", "broken", "retry", "slow")
REPLICAS = {"members": 1, "earn": 1, "redeem": 1, "tiers": 2, "notifier": 2}
AT_MOST_S = 50 * 60
CHOSEN = "POINTBANK_SOAK_TRIALS"
"""Names of trials, with commas between: only these are made."""


async def _towns(world: World) -> dict[str, Town]:
    return {name: await found_town(world.fleet, name, members=8, make=copy_tenant) for name in TOWNS}


def test_each_alert_fires_for_its_cause_and_goes_when_the_runbook_was_followed(
    tell: Tell, tmp_path: Path
) -> None:
    # It takes longer than any test may otherwise: alerts fire after so many minutes.
    faulthandler.dump_traceback_later(AT_MOST_S, exit=True)
    seals = tmp_path / "seals"
    seals.mkdir()
    (seals / "busy").write_text("in the way")
    with ExitStack() as stack:
        provider = stack.enter_context(Provider().running())
        more = {
            ADDRESS: f"http://127.0.0.1:{provider.port}/",
            "POINTBANK_SEAL_FOLDER": str(seals),
        }
        apps = {"notifier": "tests.support.provider:create"}
        world = stack.enter_context(running_world(environment=more, apps=apps, replicas=REPLICAS))
        towns = asyncio.run(_towns(world))
        ports = [one.port for one in world.fleet.replicas.values()]
        watch = stack.enter_context(Prometheus(world.fleet.folder / "prometheus", ports).running())
        asyncio.run(_try_all(Site(world, watch, provider, seals, towns), tell))


async def _try_all(site: Site, tell: Tell) -> None:
    chosen = os.environ.get(CHOSEN, "").split(",")
    trials = [one for one in TRIALS if chosen == [""] or one.__name__ in chosen]
    async with AsyncExitStack() as opened:
        for name, town in site.towns.items():
            site.trades[name] = await opened.enter_async_context(town.open())
        ended = asyncio.Event()
        probing = asyncio.create_task(probe(site, ended))
        made = await asyncio.gather(*[_tried(one, site) for one in trials])
        more = await asyncio.gather(*site.extra, return_exceptions=True)
        ended.set()
        await probing
        for line in site.watch.history:
            tell(line)
        wrong = [one for one in (*made, *more) if one is not None]
        assert wrong == []
        for trade in site.trades.values():
            await trade.till.wait(settled=True, timeout_s=120)
    for town in site.towns.values():
        await town.settled()
        report = await verify_tenant(town.settings, town.tenant, journal=town.journal)
        assert report, [(check.name, check.examples) for check in report.broken]
        await leave(town)


async def _tried(trial: Trial, site: Site) -> str | None:
    """What was wrong with it; told at once, for the others go on for long."""
    try:
        await trial(site)
    except Exception:  # noqa: BLE001  # one trial's failure is not the others'
        said = f"{trial.__name__}: {traceback.format_exc()}"
        site.watch.history.append(said)
        print(said, flush=True)  # noqa: T201
        return trial.__name__
    return None
