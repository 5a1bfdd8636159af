"""A Valkey (or Redis) of our own: append-only file, no eviction, passwords for every login."""

import hashlib
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotReachable
from redis.exceptions import TimeoutError as TooSlow
from redis.retry import Retry

from pointbank.embedded import process
from pointbank.embedded.binaries import Program
from pointbank.embedded.process import SELF, Child, Keeper

ACL_FILE = "users.acl"
SETTINGS = {
    "bind": "127.0.0.1",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "auto-aof-rewrite-min-size": "512mb",  # what is trimmed is gone again in minutes: rewriting small files is work for nothing
    "maxmemory-policy": "noeviction",
}


@dataclass
class Valkey:
    """A server on a loopback port, of which we are the administrator."""

    program: Program
    data: Path
    log: Path
    port: int
    password: str = field(repr=False)
    keeper: Keeper
    child: Child | None = None

    @property
    def url(self) -> str:
        return f"redis://default:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self.child is not None, "not started"
        return self.child.pid

    def start(self, *, empty: bool = False) -> None:
        """Returns when it answers, with its data loaded; always on the same port. `empty` deletes the data first.

        Users are configuration, not data: they outlive it.
        """
        if empty:
            shutil.rmtree(self.data / "appendonlydir", ignore_errors=True)
        options = {**SETTINGS, "port": str(self.port), "dir": str(self.data)}
        options["aclfile"] = str(self.data / ACL_FILE)
        command = [str(self.program.path)]
        command += [part for name, value in options.items() for part in (f"--{name}", value)]
        child = self.keeper.spawn(SELF, command, log=self.log, death_signal=signal.SIGTERM)
        self.child = child
        with Redis.from_url(self.url, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
            complaint = f"{self.program.engine} is not ready; see {self.log}"
            process.until(lambda: _answers(client, child), process.START_S, complaint)

    def stop(self) -> None:
        """An orderly stop, the append-only file synced."""
        if self.child:
            self.child.stop()

    def kill(self) -> None:
        """SIGKILL."""
        if self.child:
            self.child.kill()

    def restart(self) -> None:
        self.stop()
        self.start()


def _answers(client: Redis, child: Child) -> bool:
    child.must_run()
    try:
        return bool(client.ping())
    except (NotReachable, TooSlow):  # not listening yet, or loading its data
        return False


def prepare(program: Program, state: Path, *, password: str, keeper: Keeper) -> Valkey:
    """A server that is ready to start; its first users file knows the default user only."""
    data = state / program.folder
    data.mkdir(mode=0o700, exist_ok=True)
    users = data / ACL_FILE
    if not users.exists():
        users.touch(mode=0o600)
        users.write_text(f"user default on #{hashlib.sha256(password.encode()).hexdigest()} ~* &* +@all\n")
    return Valkey(program, data, state / "valkey.log", process.free_port(), password, keeper)
