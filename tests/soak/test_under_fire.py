"""`make soak`: real processes under mixed load, and a nemesis. Each run has a seed; POINTBANK_SOAK_SEED=n replays run n.

POINTBANK_SOAK_RUNS says how many (20 unless told). After each, everything settles, the books are verified against the journal of
all that was offered, called and answered, and how long each fault was felt is told.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from pointbank import embedded
from pointbank.verify.database import auditor
from shared.messaging.faults import passing
from shared.messaging.keys import SERVICES
from tests.faults.conftest import QUICK, World, running_world
from tests.soak.conftest import AWAY
from tests.soak.nemesis import FAULTS, Field, heal
from tests.soak.points import FOLDER
from tests.soak.wire import Wire
from tests.support.telling import Tell
from tests.support.town import Load, Trade, found_town, leave

pytestmark = pytest.mark.soak

ONE = os.environ.get("POINTBANK_SOAK_SEED")
RUNS = int(os.environ.get("POINTBANK_SOAK_RUNS", "20"))
FIRST = int(os.environ.get("POINTBANK_SOAK_FIRST", "1"))
SEEDS = [int(ONE)] if ONE else list(range(FIRST, FIRST + RUNS))
MOST_FAULTS = 4
FELT_S = 90.0
"""A fault that is felt for longer fails the run."""


@dataclass
class Arena:
    """Replicas on servers of their own, behind wires; and the folder of points."""

    world: World
    wires: dict[str, Wire]
    points: Path


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """One for all runs: what a run leaves behind, the next one meets."""
    with ExitStack() as stack:
        points = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pointbank-soak-")))
        wires: dict[str, Wire] = {}

        def through_wires(servers: embedded.Servers) -> dict[str, str]:
            assert servers.postgres is not None
            assert servers.valkey is not None
            wires["PostgreSQL"] = stack.enter_context(Wire(servers.postgres.port).running())
            wires["Redis"] = stack.enter_context(Wire(servers.valkey.port).running())
            redis_url = servers.redis_url.replace(f":{servers.valkey.port}/", f":{wires['Redis'].port}/")
            return {
                **QUICK,
                FOLDER: str(points),
                "POINTBANK_POSTGRES_PORT": str(wires["PostgreSQL"].port),
                "POINTBANK_REDIS_URL": redis_url,
            }

        deadly = {service: f"tests.soak.points:{service}" for service in SERVICES}
        world = stack.enter_context(running_world(environment=through_wires, apps=deadly))
        yield Arena(world, wires, points)


async def felt(trade: Trade) -> tuple[float, float]:
    """(seconds until a bill that is posted now is answered, seconds until its points are in the ledger)."""
    began = time.monotonic()
    town = trade.town
    bill = next(bill for bill in town.bills(40) if bill.member is not None)
    answer = await trade.call(town.post(bill))
    answered = time.monotonic() - began
    assert answer.status in {200, 201, 202}, answer
    bill_id = answer.json()["bill_id"]
    while time.monotonic() - began < FELT_S:
        try:
            async with auditor(town.settings, town.tenant) as db:
                if await db.fetchval("SELECT count(*) FROM redeem.ledger WHERE source_id = $1", bill_id):
                    return answered, time.monotonic() - began
        except Exception as error:
            if not passing(error):
                raise
            # PostgreSQL is away, or has no connection left: that is what is measured
        await asyncio.sleep(0.05)
    pytest.fail(f"bill {bill_id} was answered after {answered:.1f} s and not booked within {FELT_S:.0f} s")


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens_the_books_hold(
    arena: Arena, seed: int, tell: Tell, record_property: Callable[[str, object], None]
) -> None:
    dice = random.Random(
        f"nemesis {seed}"
    )  # its own: how fast callers are answered does not change what is done
    world = arena.world
    await heal(world, arena.wires)
    town = await found_town(world.fleet, f"t{secrets.token_hex(4)}", members=30, seed=seed)
    try:
        async with town.open() as trade, Load(trade, random.Random(seed), most_bills=1_500).running() as load:
            field = Field(world, town, trade, arena.wires, arena.points, dice)
            await asyncio.sleep(dice.uniform(0.2, 1.0))
            for name in dice.sample(sorted(FAULTS), dice.randint(1, MOST_FAULTS)):
                acting = asyncio.create_task(FAULTS[name](field))
                answered, booked = await felt(trade)
                while not acting.done():
                    answered, booked = map(max, (answered, booked), await felt(trade))
                detail = await acting
                record_property(AWAY, (name, answered, booked))
                tell(
                    f"{name}{f': {detail}' if detail else ''}; answered after {answered:.1f} s, booked after {booked:.1f} s"
                )
                await asyncio.sleep(dice.uniform(0.0, 0.6))
            await asyncio.to_thread(world.fleet.wait_ready, town.tenant)
            load.end()
        await town.verified()
    finally:
        await heal(world, arena.wires)
        await leave(town)
