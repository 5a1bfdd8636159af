"""Servers and services that may be killed: sets of their own, so that nobody else's tests lose what they run on."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from pointbank import embedded
from shared.config import Settings
from shared.tenants.provision import prepare_control
from tests.support.copies import copy_tenant
from tests.support.processes import Fleet
from tests.support.servers import UNTENDED
from tests.support.town import Town, found_town, leave

SEED = "POINTBANK_FAULT_SEED"
QUICK = {"POINTBANK_RECLAIM_IDLE_MS": "1500", "POINTBANK_POISON_ATTEMPTS": "3"}
"""Leases that a test can wait for."""


@dataclass
class World:
    """Replicas of the services, on servers of their own."""

    postgres: embedded.Postgres
    valkey: embedded.Valkey
    fleet: Fleet

    def mend(self) -> None:
        """Starts what a test that failed has left dead."""
        for server in (self.postgres, self.valkey):
            if server.child is None or server.child.process.poll() is not None:
                server.start()
        for name, replica in list(self.fleet.replicas.items()):
            if replica.process.poll() is not None:
                self.fleet.start(name)


@contextmanager
def running_world(
    *,
    environment: Mapping[str, str] | Callable[[embedded.Servers], Mapping[str, str]] = QUICK,
    apps: Mapping[str, str] | None = None,
    replicas: int | Mapping[str, int] = 2,
    state: Path | None = None,
    pg_settings: Mapping[str, str] = MappingProxyType({}),
    forked: bool = False,
) -> Iterator[World]:
    """A world, whole at the beginning; nothing of it is left at the end. `state`: where its servers keep their data."""
    folder = Path(tempfile.mkdtemp(prefix="pointbank-faults-"))
    folder.chmod(0o711)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        servers = stack.enter_context(
            embedded.servers(state or folder / "var", pg_settings={**UNTENDED, **pg_settings})
        )
        if servers.postgres is None or servers.valkey is None:
            pytest.skip("servers named by the environment are somebody's: they can't be killed")
        settings = Settings(
            postgres_dsn=servers.postgres_dsn, redis_url=servers.redis_url, secret=secrets.token_urlsafe(32)
        )
        asyncio.run(prepare_control(settings))
        given = environment(servers) if callable(environment) else environment
        fleet = stack.enter_context(
            Fleet(settings, folder, environment=given, apps=apps, replicas=replicas, forked=forked).running()
        )
        yield World(servers.postgres, servers.valkey, fleet)
        crashes = [line for line in servers.postgres.log.read_text().splitlines() if "by signal 11" in line]
        assert not crashes, crashes  # those we kill ourselves die of signal 9


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """What a module's tests break; each mends it."""
    with running_world(forked=True) as made:
        yield made


@pytest.fixture
def town(world: World) -> Iterator[Town]:
    """A tenant of the test's own, so that its books are short."""
    world.mend()
    made = asyncio.run(found_town(world.fleet, f"t{secrets.token_hex(3)}", members=30, make=copy_tenant))
    yield made
    world.mend()
    asyncio.run(leave(made))


@pytest.fixture
def rng(tell: Callable[[str], None]) -> random.Random:
    """The test's dice. Its seed is told; POINTBANK_FAULT_SEED throws them the same way again."""
    seed = int(os.environ.get(SEED) or secrets.randbelow(10**6))
    tell(f"{SEED}={seed}")
    return random.Random(seed)
