"""One town for the walk over the table of codes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from shared.config import Settings
from shared.db import connect
from shared.tenants.provision import dsn_for
from tests.flows.conftest import ALL_IN_ONE, running_fleet
from tests.support.desk import Desk
from tests.support.processes import Fleet
from tests.support.town import Town, found_town, leave


@pytest.fixture(scope="package")
def fleet(settings: Settings) -> Iterator[Fleet]:
    """One process: the codes do not depend on the form."""
    # Nothing may be written but what a call writes: no job seals or reconciles meanwhile.
    quiet = {"POINTBANK_SEAL_EVERY_S": "0", "POINTBANK_RECONCILE_EVERY_S": "0"}
    with running_fleet(settings, ALL_IN_ONE, **quiet) as made:
        yield made


@pytest.fixture(scope="package")
def town(fleet: Fleet) -> Iterator[Town]:
    """Members, and nothing else yet."""
    made = asyncio.run(found_town(fleet, f"t{secrets.token_hex(3)}", members=4))
    yield made
    asyncio.run(leave(made))


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def desk(fleet: Fleet, town: Town) -> AsyncIterator[Desk]:
    """The desk, with nothing under way."""
    db = await connect(dsn_for(town.settings, f"pb_{town.tenant}"))
    try:
        async with httpx.AsyncClient(base_url=fleet.base_url, timeout=30) as client:
            yield Desk(fleet, town, client, db)
    finally:
        await db.close()
