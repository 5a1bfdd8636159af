"""A PostgreSQL of our own: initialised, started, killed, started again."""

import os
import pwd
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

from pointbank.embedded import process
from pointbank.embedded.binaries import Program
from pointbank.embedded.process import SELF, CannotStart, Child, Identity, Keeper

# What a careful production server has. Nothing here trades durability for speed: the benchmark runs on these too.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "max_wal_size": "2GB",  # checkpoints by time, not in the middle of every burst
    "wal_buffers": "16MB",
    "max_locks_per_transaction": "256",  # partitions: one statement may touch many
    "jit": "off",  # our statements are short; compiling them costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


def _shared_buffers() -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return "256MB" if memory >= 2 * 1024**3 else "64MB"


def _identity(program: Program, data: Path) -> Identity:
    """PostgreSQL refuses root: as root, run it as the data's owner or nobody, else in a user namespace."""
    owner = data.stat()
    if os.geteuid() != 0:
        if owner.st_uid != os.geteuid():
            raise CannotStart(f"{data} belongs to another user; use another folder")
        return SELF
    fresh = not any(data.iterdir())
    if owner.st_uid != 0 or fresh:
        user = pwd.getpwnam("nobody") if owner.st_uid == 0 else pwd.getpwuid(owner.st_uid)
        other = Identity(f"{user.pw_uid}:{user.pw_gid}", f"as {user.pw_name}")
        os.chown(data, user.pw_uid, user.pw_gid)
        if _can_run(program, data, other):
            return other
        os.chown(data, owner.st_uid, owner.st_gid)
    namespace = Identity("userns", "in a user namespace")
    if owner.st_uid == 0 and _can_run(program, data, namespace):
        return namespace
    raise CannotStart(
        f"PostgreSQL does not run as root, and nobody else can reach {program.path} and {data}: "
        "run this as an ordinary user, or keep the project outside root's home"
    )


def _can_run(program: Program, data: Path, identity: Identity) -> bool:
    script = 'test -w "$1" && exec "$2" --version'
    tried = process.run_once(identity, ["/bin/sh", "-c", script, "sh", str(data), str(program.path)])
    return tried.returncode == 0


@dataclass
class Postgres:
    """A server on a loopback port, of which we are the administrator."""

    program: Program
    data: Path
    log: Path
    port: int
    password: str = field(repr=False)
    settings: dict[str, str]
    identity: Identity
    keeper: Keeper
    child: Child | None = None

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        assert self.child is not None, "not started"
        return self.child.pid

    def start(self) -> None:
        """Returns when it accepts logins, after whatever recovery it needs; always on the same port."""
        # Safe: we hold the folder's lock, which every process of an earlier server would still hold.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self.program.path), "-D", str(self.data), "-p", str(self.port), *options]
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for clients.
        child = self.keeper.spawn(self.identity, command, log=self.log, death_signal=signal.SIGINT)
        self.child = child
        process.until(lambda: self._ready(child), process.START_S, f"PostgreSQL is not ready; see {self.log}")

    def _ready(self, child: Child) -> bool:
        """As pg_ctl decides: the last line of postmaster.pid."""
        child.must_run()
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(child.pid) and lines[7].strip() == "ready"

    def stop(self) -> None:
        """An orderly (fast) shutdown."""
        if self.child:
            self.child.stop()

    def kill(self) -> None:
        """SIGKILL to the postmaster and every backend, as when a machine loses its power."""
        if self.child:
            self.child.kill()

    def restart(self) -> None:
        self.stop()
        self.start()


def _initialise(program: Program, data: Path, identity: Identity, password: str) -> None:
    """initdb with passwords for every login; the folder must exist, empty and writable for the identity."""
    pwfile = data.with_name(f"{data.name}.pwfile")
    pwfile.touch(mode=0o600)
    try:
        pwfile.write_text(password + "\n")
        owner = data.stat()
        os.chown(pwfile, owner.st_uid, owner.st_gid)
        made = process.run_once(identity, [
            str(program.path.with_name("initdb")), "-D", str(data), "-U", "postgres", "-E", "UTF8",
            "--locale=C", "--data-checksums", "--auth=scram-sha-256", f"--pwfile={pwfile}",
        ])  # fmt: skip
    finally:
        pwfile.unlink()
    if made.returncode != 0:
        raise CannotStart(f"initdb failed: {made.stderr.strip() or made.stdout.strip()}")


def prepare(
    program: Program, state: Path, *, password: str, settings: dict[str, str] | None, keeper: Keeper
) -> Postgres:
    """A server that is ready to start; initialises its data folder when there is none."""
    data = state / program.folder
    if data.exists():
        identity = _identity(program, data)
    else:
        # Under another name until it is complete: a killed initdb leaves nothing that looks like a database.
        making = state / f"{program.folder}.new"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        identity = _identity(program, making)
        _initialise(program, making, identity, password)
        making.rename(data)
    return Postgres(
        program=program, data=data, log=state / "postgres.log", port=process.free_port(), password=password,
        settings={**SETTINGS, "shared_buffers": _shared_buffers(), **(settings or {})},
        identity=identity, keeper=keeper,
    )  # fmt: skip
