"""Where a run happens: two processes of each service on servers of their own, behind wires, on a small disk where we may; tills
and callers have wires of their own."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from pointbank import embedded
from shared.messaging.keys import SERVICES
from tests.faults.conftest import World, running_world
from tests.soak.points import FOLDER
from tests.soak.standstill import go_on
from tests.soak.wire import Wire

FEW_TRIES = {"POINTBANK_POISON_ATTEMPTS": "3"}
"""Poison dies sooner than as shipped. All else that a fault is felt by, leases above all, is as shipped."""
DISK_MB = 1_536
"""A disk that holds a few tens of tenants and their log, and that one file can fill."""
ANSWERS_WITHIN_S = 5.0
"""The gateway waits no longer for a process: one that stands still has its callers ask another, under their keys."""
DISK_NAME = "pointbank-soak"
SMALL = {"max_wal_size": "256MB", "min_wal_size": "80MB", "wal_keep_size": "0"}


@dataclass
class Disk:
    """The servers' data, when it is a tmpfs of ours."""

    folder: Path

    @property
    def filler(self) -> Path:
        return self.folder / "filler"

    def fill(self) -> int:
        """Takes all that is free, also what becomes free meanwhile; gives how many megabytes it has."""
        with self.filler.open("ab") as file:
            step = 64 * 2**20
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2
        return self.filler.stat().st_size // 2**20

    def free(self) -> None:
        """Gives it back."""
        self.filler.unlink(missing_ok=True)


@dataclass
class Arena:
    """Replicas behind wires; the wires of who trades; the folder of points; the disk and the clock that may be hurt, else why
    not."""

    world: World
    wires: dict[str, Wire]
    tills: Wire
    """Between tills and Redis."""
    callers: Wire
    """Between callers and the gateway before the services."""
    points: Path
    disk: Disk | str

    def through(self, url: str) -> str:
        """Redis' address as a till has it: by its wire."""
        valkey = self.world.valkey
        return url.replace(f":{valkey.port}/", f":{self.tills.port}/")

    @property
    def callers_url(self) -> str:
        """The services' address as callers have it: by their wire."""
        return f"http://127.0.0.1:{self.callers.port}"

    async def heal(self) -> None:
        """Takes back what a fault that was cut short has left: the next run begins with everything whole."""
        for wire in (*self.wires.values(), self.tills, self.callers):
            wire.trouble = "none"
        for server in (self.world.postgres, self.world.valkey):
            if server.child is not None:
                go_on(server.child)
        if isinstance(self.disk, Disk):
            self.disk.free()
        for asked in self.points.iterdir():
            asked.unlink(missing_ok=True)
        for replica in self.world.fleet.replicas.values():
            if replica.process.poll() is None:
                replica.process.send_signal(signal.SIGCONT)
        self.world.mend()
        administrator: Any = Redis.from_url(self.world.valkey.url)
        async with administrator as redis:
            await redis.execute_command("REPLICAOF", "NO", "ONE")
            await redis.config_set("maxmemory", "0")


def _give_back_the_dead() -> None:
    """Disks of processes that were killed: nobody else would unmount them."""
    for line in Path("/proc/mounts").read_text().splitlines():
        source, folder = line.split()[:2]
        name, _, pid = source.rpartition("-")
        if name == DISK_NAME and not Path(f"/proc/{pid}").exists():
            subprocess.run(["umount", "-l", folder], check=False)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def small_disk() -> Iterator[tuple[Path, Disk | str]]:
    """A folder for the servers' data; on a tmpfs of its own where we may mount one, else with the reason why it is none."""
    with tempfile.TemporaryDirectory(prefix="pointbank-soak-") as made, ExitStack() as stack:
        folder = Path(made)
        folder.chmod(0o711)
        if os.geteuid() != 0:
            yield folder, "no disk can be filled: only root mounts a tmpfs"
            return
        _give_back_the_dead()
        mount = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={DISK_MB}m,mode=711",
            f"{DISK_NAME}-{os.getpid()}",
            made,
        ]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            yield folder, f"no disk can be filled: {done.stderr.strip().splitlines()[0]}"
            return
        stack.callback(lambda: subprocess.run(["umount", "-l", made], check=True))
        yield folder, Disk(folder)


@contextmanager
def running_arena() -> Iterator[Arena]:
    """One for many runs: what a run leaves behind, the next one meets."""
    with ExitStack() as stack:
        folder, disk = stack.enter_context(small_disk())
        points = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pointbank-points-")))
        wires: dict[str, Wire] = {}

        def through_wires(servers: embedded.Servers) -> dict[str, str]:
            assert servers.postgres is not None
            assert servers.valkey is not None
            wires["PostgreSQL"] = stack.enter_context(Wire(servers.postgres.port).running())
            wires["Redis"] = stack.enter_context(Wire(servers.valkey.port).running())
            redis_url = servers.redis_url.replace(f":{servers.valkey.port}/", f":{wires['Redis'].port}/")
            return {
                **FEW_TRIES,
                FOLDER: str(points),
                "POINTBANK_POSTGRES_PORT": str(wires["PostgreSQL"].port),
                "POINTBANK_REDIS_URL": redis_url,
            }

        deadly = {service: f"tests.soak.points:{service}" for service in SERVICES}
        world = stack.enter_context(
            running_world(environment=through_wires, apps=deadly, state=folder, pg_settings=SMALL)
        )
        world.fleet.gateway.answers_within_s = ANSWERS_WITHIN_S
        tills = stack.enter_context(Wire(world.valkey.port).running())
        callers = stack.enter_context(Wire(world.fleet.gateway.port).running())
        yield Arena(world, wires, tills, callers, points, disk)
