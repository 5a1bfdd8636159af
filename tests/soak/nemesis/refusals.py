"""Whom a fault has met, as the servers themselves count it: commands that were refused, logins, writes, connections that broke."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.soak.nemesis.field import Field

TRIED_S = 4.0
"""So long a refusal that nobody has met yet goes on after its time."""
FULL_UP = re.compile(
    r"\] (?!pb_\w+_auditor@)pb_\w+@\S* FATAL: .*(too many clients|connection slots are reserved)"
)
"""A service's login that was refused (53300); the harness looks as the auditor, or as the superuser."""
NO_SPACE = re.compile(r"(ERROR|FATAL|PANIC): .*No space left on device")


def refused(info: Mapping[str, Any]) -> Counter[str]:
    """Redis' `INFO errorstats`: by its code, how often it has answered with an error."""
    prefix = "errorstat_"
    return Counter({name.removeprefix(prefix): int(one["count"]) for name, one in info.items()})


def logins_refused(log: str) -> int:
    """Of services, by PostgreSQL's log."""
    return sum(bool(FULL_UP.search(line)) for line in log.splitlines())


def writes_refused(log: str) -> int:
    """For want of room, by PostgreSQL's log."""
    return sum(bool(NO_SPACE.search(line)) for line in log.splitlines())


class LogSince:
    """What a log has got since this was made."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, path.stat().st_size

    def text(self) -> str:
        with self._path.open("rb") as file:
            file.seek(self._at)
            return file.read().decode(errors="replace")


class Refusals:
    """Redis' answers of one code since this was made; where it was started since, those since then."""

    def __init__(self, field: Field, code: str) -> None:
        self._field, self._code = field, code
        self._run, self._before = "", 0

    async def begin(self) -> Refusals:
        self._run, self._before = await self._now()
        return self

    async def met(self) -> int:
        run, now = await self._now()
        return now - (self._before if run == self._run else 0)

    async def _now(self) -> tuple[str, int]:
        async with self._field.redis() as redis:
            run = (await redis.info("server"))["run_id"]
            return run, refused(await redis.info("errorstats"))[self._code]


@asynccontextmanager
async def redis_refusing(field: Field, code: str) -> AsyncIterator[None]:
    """Counts what Redis refuses with this code within; does not end before there was something, or TRIED_S are over."""
    refusals = await Refusals(field, code).begin()
    yield
    deadline = time.monotonic() + TRIED_S
    while not (met := await refusals.met()) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    field.met[f"{code} answers"] += met


async def entries(field: Field) -> int:
    """In all streams of the town."""
    async with field.redis() as redis:
        return sum([int(await redis.xlen(one)) for one in field.streams])


async def added(field: Field) -> int:
    """Entries that were ever added to the streams of the town."""
    found = 0
    async with field.redis() as redis:
        for one in field.streams:
            if await redis.exists(one):
                found += int((await redis.xinfo_stream(one))["entries-added"])
    return found


async def clients(field: Field) -> int:
    """Connections to Redis besides the one that asks."""
    async with field.redis() as redis:
        return int((await redis.info("clients"))["connected_clients"]) - 1


async def backends(field: Field) -> int:
    """Connections of services to PostgreSQL."""
    db = await field.admin()
    try:
        return int(await db.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'pb\\_%'"))
    finally:
        await db.close()
