"""Where alerts are tried: a fleet with its towns, a provider of messages, Prometheus, and an operator with the runbook."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from pointbank.generate import Bill
from shared.db import Connection, connect, database_of
from shared.tenants.provision import dsn_for
from tests.faults.conftest import World
from tests.support.processes import Replica
from tests.support.prometheus import Prometheus
from tests.support.provider import Provider
from tests.support.town import Town, Trade

MAIN = "from pointbank.cli import main; main()"


@dataclass
class Site:
    """A fleet with its towns, a provider of messages, and Prometheus, which watches it."""

    world: World
    watch: Prometheus
    provider: Provider
    seals: Path
    towns: Mapping[str, Town]
    trades: dict[str, Trade] = field(default_factory=dict)
    extra: list[asyncio.Task[None]] = field(default_factory=list)
    migrated: asyncio.Event = field(default_factory=asyncio.Event)
    """`pointbank migrate` was run: it is for all tenants, and so for all trials."""
    let_in: asyncio.Event = field(default_factory=asyncio.Event)
    """No trial keeps commands out of the directory: they log in as a service does."""

    def __post_init__(self) -> None:
        self.let_in.set()

    @asynccontextmanager
    async def books_of(self, name: str) -> AsyncIterator[Connection]:
        """A database administrator in the database of a town's tenant."""
        town = self.towns[name]
        db = await connect(dsn_for(town.settings, database_of(town.tenant)))
        try:
            yield db
        finally:
            await db.close()

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Any]:
        administrator: Any = Redis.from_url(self.world.valkey.url)
        async with administrator as redis:
            yield redis

    async def pointbank(self, *words: str, exits: int = 0) -> str:
        """A command as the runbook writes it, with the administrator's settings; its output."""
        if words[0] != "migrate":
            await self.let_in.wait()
        settings = self.world.fleet.settings
        assert settings.postgres_dsn is not None
        assert settings.secret is not None
        given = {name: value for name, value in os.environ.items() if not name.startswith("POINTBANK_")}
        given |= {
            "POINTBANK_POSTGRES_DSN": settings.postgres_dsn,
            "POINTBANK_SECRET": settings.secret,
            "POINTBANK_REDIS_URL": settings.redis_url,
            "POINTBANK_SEAL_FOLDER": str(self.seals),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            MAIN,
            *words,
            env=given,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complained = await process.communicate()
        assert process.returncode == exits, (words, process.returncode, said.decode(), complained.decode())
        return said.decode() + complained.decode()

    async def ring_up(self, name: str, count: int) -> list[Bill]:
        """So many bills of members are offered on the tills' stream."""
        town, trade = self.towns[name], self.trades[name]
        bills = [bill for bill in town.bills(3 * count) if bill.member is not None][:count]
        await trade.till.offer([town.offer(bill) for bill in bills], timeout_s=120)
        return bills

    def one_of(self, service: str, pid: int) -> Replica:
        """The process of a service with this id."""
        return next(one for one in self.world.fleet.of(service) if one.pid == pid)


Trial = Callable[[Site], Awaitable[None]]
"""Makes alerts fire, does what the runbook says, and sees them go."""


def sql_of(alert: str) -> str:
    """The statement of an alert's section, as it stands in the runbook."""
    text = (Path(__file__).parents[3] / "docs" / "runbook.md").read_text()
    section = text.partition(f"\n## {alert}\n")[2].partition("\n## ")[0]
    statement = section.partition("```sql\n")[2].partition("\n```")[0]
    assert statement, alert
    return statement
