"""Books are checked while they are written: what is on its way is not settled, and nothing else is said against it."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointbank.verify import verify_tenant
from shared.config import Settings
from shared.tenants.provision import prepare_control
from tests.support.copies import copy_tenant
from tests.support.processes import ALL, Fleet
from tests.support.town import Load, Town, found_town


@pytest.fixture
def busy_town(settings: Settings) -> Iterator[Town]:
    """A tenant that two processes serve."""
    folder = Path(tempfile.mkdtemp(prefix="pointbank-live-"))
    try:
        asyncio.run(prepare_control(settings))
        with Fleet(settings, folder, services=(ALL,), replicas=2, forked=True).running() as fleet:
            yield asyncio.run(found_town(fleet, "live", members=20, make=copy_tenant))
    finally:
        shutil.rmtree(folder)


async def test_books_that_are_being_written_are_at_most_not_settled(busy_town: Town) -> None:
    unsettled = 0
    async with busy_town.open() as trade, Load(trade, random.Random(3), most_bills=4_000).running() as load:
        for _ in range(2):
            report = await verify_tenant(busy_town.settings, busy_town.tenant, journal=busy_town.journal)
            broken = {check.name: check.examples for check in report.broken}
            assert broken.keys() <= {"settled", "offered-answered"}, broken
            unsettled += "settled" in broken
        load.end()
    assert unsettled, "nothing was on its way"
    await busy_town.verified()
