"""The services as they are deployed: all in one process, and as two replicas of each behind a gateway."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.config import Settings
from shared.tenants.provision import prepare_control
from tests.support.copies import copy_tenant
from tests.support.processes import ALL, Fleet
from tests.support.town import Town, found_town, leave

ALL_IN_ONE, REPLICAS = "all in one", "two replicas"


def own_directory(settings: Settings) -> Settings:
    """The same servers with a directory of tenants of one's own."""
    own = settings.model_copy(update={"control_database": f"pointbank_flows_{secrets.token_hex(4)}"})
    asyncio.run(prepare_control(own))
    return own


@contextmanager
def running_fleet(settings: Settings, how: str, **environment: str) -> Iterator[Fleet]:
    """Processes with a directory of tenants of their own: the session's others are none of their business."""
    folder = Path(tempfile.mkdtemp(prefix="pointbank-flows-"))
    own = own_directory(settings)
    form: dict[str, Any] = {"services": (ALL,), "replicas": 1} if how == ALL_IN_ONE else {}
    try:
        with Fleet(own, folder, environment=environment, forked=True, **form).running() as fleet:
            yield fleet
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="package", params=[ALL_IN_ONE, REPLICAS])
def fleet(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Fleet]:
    """Running services, in both forms. Their batches are small, so that replicas have something to share.

    That each of two replicas commits entries of the same tenant is held for this very fleet and town by
    `test_processes.py::test_each_of_two_replicas_commits_entries_of_the_same_tenant`, which prints the counts, and not here at the
    end: of the few entries of a small test one replica may rightly take all, and a process that was started anew counts from 0.
    """
    with running_fleet(settings, request.param, POINTBANK_BATCH_ITEMS="40") as made:
        yield made


@pytest.fixture(scope="package")
def town(fleet: Fleet) -> Iterator[Town]:
    """A tenant with a programme, merchants and members."""
    made = asyncio.run(found_town(fleet, f"t{secrets.token_hex(3)}", members=40, make=copy_tenant))
    yield made
    asyncio.run(leave(made))
