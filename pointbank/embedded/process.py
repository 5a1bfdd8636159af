"""Child processes that never outlive us, and the lock that lets one run at a time use a folder."""

import errno
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
STOP_S = 30
START_S = 60
HELD = 200
"""So many of the ports that it drew last a process keeps from others."""
_held: deque[int] = deque()


class CannotStart(Exception):
    """The servers can't be started; the message tells a person what to do."""


@dataclass(frozen=True)
class Identity:
    """Who a server runs as: "self", "userns" or "uid:gid", and a word for people."""

    launch: str
    name: str


SELF = Identity("self", "as the same user")


def environment() -> dict[str, str]:
    """No PG* variable and no locale of the caller's shell reaches a server."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def launch_command(identity: Identity, death_signal: int, command: list[str]) -> list[str]:
    """The command that becomes `command` under that identity, and dies by that signal when we die."""
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
    return [*launcher, identity.launch, str(int(death_signal)), str(os.getpid()), *command]


def run_once(identity: Identity, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs to its end, under that identity, output captured."""
    return subprocess.run(
        launch_command(identity, signal.SIGKILL, command),
        cwd="/", env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def alive(pid: int) -> bool:
    """Whether it runs; a zombie that nobody has reaped doesn't."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, as somebody else
    if not Path("/proc/self/stat").exists():
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False  # ended while we looked


def children(pid: int) -> list[int]:
    """Its direct children (Linux; elsewhere unknown, an empty list)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rpartition(")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended while we looked
        if int(parent) == pid:
            found.append(int(stat.parent.name))
    return found


@dataclass
class Keeper:
    """Starts children from one thread that lives as long as they do.

    Linux ties "when my parent dies" to the *thread* that started a child: a child started from a worker thread
    would be killed when that worker ends.
    """

    lock: int
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "embedded"))

    def spawn(self, identity: Identity, command: list[str], *, log: Path, death_signal: int) -> "Child":
        """A child with stdio detached, that holds the folder's lock for itself and its own children."""
        with log.open("ab") as out:
            started = self.thread.submit(
                subprocess.Popen, launch_command(identity, death_signal, command),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", env=environment(),
                start_new_session=True, pass_fds=[self.lock],
            )  # fmt: skip
            return Child(started.result(), log, death_signal)

    def close(self) -> None:
        """Call after every child has ended."""
        self.thread.shutdown()
        os.close(self.lock)


@dataclass
class Child:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    log: Path
    stop_signal: int

    @property
    def pid(self) -> int:
        return self.process.pid

    def must_run(self) -> None:
        """Raises CannotStart with the end of its log when it has exited."""
        code = self.process.poll()
        if code is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])
            raise CannotStart(f"the server exited with {code}; {self.log} ends:\n{tail}")

    def stop(self) -> None:
        """An orderly stop; SIGKILL when it takes too long."""
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL to it and all its children at once; returns when none is left."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(
            signal.SIGSTOP
        )  # or it would fork another child between our look and our shot
        family = [self.pid, *children(self.pid)]
        for pid in family:
            with suppress(ProcessLookupError):  # ended by itself, which is what we want
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_S)
        until(
            lambda: not any(alive(pid) for pid in family[1:]), STOP_S, f"children of {self.pid} would not die"
        )


def until(done: Callable[[], bool], within_s: float, complaint: str) -> None:
    """Polls every 10 ms until done; CannotStart with the complaint after `within_s`."""
    deadline = time.monotonic() + within_s
    while not done():
        if time.monotonic() > deadline:
            raise CannotStart(complaint)
        time.sleep(0.01)


def must_be_free(port: int, host: str = "127.0.0.1", *, another: str = "use `--port`") -> None:
    """Raises CannotStart where this process could not listen on that port of that address. `another`: how to take another."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            # As a server does: what closed is no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(f"port {port} is in use; stop what has it, or {another}") from error
        where = f"port {port}" if host == "127.0.0.1" else f"port {port} of {host}"
        raise CannotStart(f"{where} can't be listened on ({error.strerror}); use another") from error


def free_port() -> int:
    """A free loopback port below the ephemeral range, so that no outgoing connection can take it from a restart. It is this
    process's until it has drawn HELD more: whoever listens there may be down for a while, and nobody else's call gives it."""
    for _ in range(200):
        port = 15_000 + secrets.randbelow(17_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _hold(port):
            return port
    raise CannotStart("no free port between 15000 and 32000 on 127.0.0.1")


def _hold(port: int) -> bool:
    """Whether it could be had for this process. By a name of Linux' own for sockets (`abstract`), which lives in the network
    namespace as ports do, and ends with the process; elsewhere nothing is held."""
    if sys.platform != "linux":
        return True
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0pointbank-port-{port}")
    except OSError as error:
        held.close()
        return error.errno != errno.EADDRINUSE  # where such names may not be had, nothing is held
    _held.append(held.detach())
    while len(_held) > HELD:
        os.close(_held.popleft())
    return True


def lock_folder(state: Path) -> int:
    """An exclusive lock on the folder; CannotStart when another run has it.

    The servers inherit it. So after a killed run it is free exactly when its last server process is gone: that is
    waited for, while a live run is refused at once.
    """
    try:
        lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise CannotStart(f"{state} belongs to another user; use another folder") from error
    deadline = time.monotonic() + STOP_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode() or "0"
            if alive(int(holder)) or time.monotonic() > deadline:
                os.close(lock)
                message = (
                    f"{state} is in use by another run (process {holder}); stop it or use another folder"
                )
                raise CannotStart(message) from None
            time.sleep(0.05)
            continue
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        return lock
