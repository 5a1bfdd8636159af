"""Many idle tenants on one process: connections, CPU, memory. `python -m bench.tenants --tenants 300`.

The folder is kept where it is named, so that the tenants (a second or two each) are made once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.request import urlopen

from redis import Redis

from pointbank.running import Deployment, running
from shared.db import Connection, connect
from shared.messaging.keys import SERVICES
from shared.tenants.provision import create_tenant, list_tenants

AT_ONCE = 3
UNSYNCED = {"fsync": "off"}
"""Of hundreds of databases a checkpoint syncs 200,000 files: to stop, and to begin after a stop cut short, would take minutes."""
GOAL = 100
"""Connections in all, at any moment. It is at rest when every service has looked at every tenant, and there were fewer at each of
so many looks in a row."""
LOOKS, LOOK_S = 15, 2.0
LOOKED_AT = b"pointbank_db_pool_in_use{"
"""What /metrics shows of a tenant that a service has looked at."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Idle:
    """What a process costs while nobody uses its tenants. CPU in percent of a core, memory in MiB."""

    tenants: int
    seconds: float
    cpu_process: float
    cpu_postgres: float
    cpu_redis: float
    connections: int
    """At the same moment, at most; of PostgreSQL and of Redis each at its own."""
    connections_postgres: int
    connections_redis: int
    memory_first: int
    memory_last: int


def main() -> None:
    """Makes the tenants, waits until they rest, and measures."""
    parser = argparse.ArgumentParser(prog="python -m bench.tenants", description=__doc__)
    parser.add_argument("--tenants", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long it is measured")
    parser.add_argument("--settle", type=float, default=900.0, help="how long before, at most")
    parser.add_argument("--state", type=Path, help="a folder that is kept")
    asked = parser.parse_args()
    if asked.state is not None:
        _run(asked.state, asked)
    else:
        with tempfile.TemporaryDirectory(prefix="pointbank-bench-") as folder:
            _run(Path(folder), asked)


def _run(state: Path, asked: argparse.Namespace) -> None:
    with running(state, pg_settings=UNSYNCED) as deployment:
        idle = asyncio.run(_measure(deployment, asked))
    print(json.dumps(asdict(idle), indent=2))


async def _measure(deployment: Deployment, asked: argparse.Namespace) -> Idle:
    await _make(deployment, asked.tenants)
    begun = time.monotonic()
    redis = Redis.from_url(deployment.settings.redis_url)
    admin = await connect(deployment.settings.admin_dsn())
    pid, server = deployment.child.pid, int(redis.info("server")["process_id"])

    async def connections() -> tuple[int, int]:
        mine = await admin.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pointbank-%'"
        )
        return int(mine), len(redis.client_list()) - 1

    try:
        quiet = 0
        while quiet < LOOKS and time.monotonic() - begun < asked.settle:
            quiet = quiet + 1 if sum(await connections()) < GOAL else 0
            await asyncio.sleep(LOOK_S)
            if quiet == LOOKS and await asyncio.to_thread(_looked_at, deployment) < asked.tenants * len(
                SERVICES
            ):
                quiet = 0
        print(f"at rest after {time.monotonic() - begun:.0f} s", flush=True)
        memory, most = _memory(pid), (0, 0, 0)
        process, redis_cpu, postgres, at = _cpu(pid), _cpu(server), await _backends(admin), time.monotonic()
        while time.monotonic() - at < asked.seconds:
            await asyncio.sleep(1)
            now = await connections()
            most = max(most[0], sum(now)), max(most[1], now[0]), max(most[2], now[1])
        took = time.monotonic() - at
        return Idle(
            asked.tenants,
            took,
            (_cpu(pid) - process) / took * 100,
            (await _backends(admin) - postgres) / took * 100,
            (_cpu(server) - redis_cpu) / took * 100,
            *most,
            memory,
            _memory(pid),
        )
    finally:
        await admin.close()
        redis.close()


def _looked_at(deployment: Deployment) -> int:
    with urlopen(f"{deployment.base_url}/metrics") as answer:  # noqa: S310  # our own
        return sum(line.startswith(LOOKED_AT) for line in answer)


async def _make(deployment: Deployment, tenants: int) -> None:
    turns = asyncio.Semaphore(AT_ONCE)
    there = {one.code for one in await list_tenants(deployment.settings) if one.state == "active"}

    codes = [code for number in range(tenants) if (code := f"t{number:03d}") not in there]
    began, made = time.monotonic(), 0

    async def make(code: str) -> None:
        nonlocal made
        async with turns:
            await create_tenant(deployment.settings, code)
        made += 1
        if made % 20 == 0 or made == len(codes):
            print(f"{made} of {len(codes)} tenants made, {time.monotonic() - began:.0f} s", flush=True)

    await asyncio.gather(*[make(code) for code in codes])


def _cpu(pid: int) -> float:
    """Seconds of CPU of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICKS


async def _backends(admin: Connection) -> float:
    """Seconds of CPU of the postmaster, of all backends that have ended, and of those that run."""
    return _family(await admin.fetchval("SELECT pg_backend_pid()"))


def _family(child: int) -> float:
    parent = int(Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[1])
    total = _cpu(parent)
    for one in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(FileNotFoundError):  # it has ended, and is counted by its parent next time
            total += _cpu(int(one))
    return total


def _memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    raise ProcessLookupError(pid)


if __name__ == "__main__":
    main()
