"""The example of Valkey with Sentinels, run as processes by its own commands and files: a primary dies, another takes its place."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from deploy.env import redis_url
from pointbank.embedded import binaries
from pointbank.embedded.process import SELF, free_port, launch_command
from pointbank.tills import allow_tills, till_url, till_user
from shared.config import Settings
from shared.messaging.keys import Keys
from tests.deploy.test_kubernetes import by_kind, pod
from tests.deploy.test_overlays import K8S, documents
from tests.support.telling import Tell

ROOT = "root of the tests"
PASSWORD = "of-the-replicas"
ADDRESSES = ("127.0.0.31", "127.0.0.32", "127.0.0.33")
NAME = ".valkey.data.svc.cluster.local"
WITHIN_S = 90.0


@dataclass
class Example:
    """The three pods and the proxy, on loopback addresses in place of names and of the volumes' paths."""

    folder: Path
    users: str
    programs: str
    server: int = field(default_factory=free_port)
    sentinel: int = field(default_factory=free_port)
    proxy: int = field(default_factory=free_port)
    pods: dict[int, list[subprocess.Popen[bytes]]] = field(default_factory=dict)
    proxies: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        made = documents("examples/valkey.yaml")
        self._data: dict[str, str] = by_kind(made, "ConfigMap")["valkey"]["data"]
        self._containers = pod(by_kind(made, "StatefulSet")["valkey"])["containers"]

    def here(self, text: str, number: int) -> str:
        """The text as it is for this pod, on this machine."""
        home = self.folder / str(number)
        words = {
            "bind :6379": f"bind 127.0.0.1:{self.proxy}",
            "$POD_NAME" + NAME: ADDRESSES[number],
            **{f"valkey-{n}{NAME}": address for n, address in enumerate(ADDRESSES)},
            "-h valkey ": f"-h {ADDRESSES[(number + 1) % 3]} ",
            "/etc/valkey-users": str(home / "users"),
            "/etc/valkey/": f"{home}/conf/",
            "/data": str(home / "data"),
            "26379": "SENTINEL",
            "6379": str(self.server),
            "SENTINEL": str(self.sentinel),
        }
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    def start(self, number: int) -> None:
        """The containers of a pod; its volume is as it was left."""
        home = self.folder / str(number)
        for part in ("conf", "users", "data"):
            (home / part).mkdir(parents=True, exist_ok=True)
        (home / "users" / "users.acl").write_text(self.users)
        for name in ("valkey.conf", "sentinel.conf"):
            own = f"bind {ADDRESSES[number]}\n" + ("" if "sentinel" in name else f"port {self.server}\n")
            (home / "conf" / name).write_text(own + self.here(self._data[name], number))
        self.pods[number] = [self._run(number, one["command"]) for one in self._containers]

    def _run(self, number: int, command: list[str]) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": self.programs,
            "POD_NAME": f"valkey-{number}",
            "REPLICATION_PASSWORD": PASSWORD,
        }
        shell = [str(shutil.which(command[0])), *command[1:-1], self.here(command[-1], number)]
        with (self.folder / f"{number}.log").open("ab") as log:
            return subprocess.Popen(
                launch_command(SELF, signal.SIGKILL, shell),
                cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self, number: int) -> None:
        """All processes of a pod at once."""
        for one in self.pods.pop(number):
            os.killpg(one.pid, signal.SIGKILL)
            one.wait(10)

    def end(self) -> None:
        for number in list(self.pods):
            self.kill(number)
        for one in self.proxies:
            one.kill()
            one.wait(10)

    def proxied(self) -> None:
        file = self.folder / "haproxy.cfg"
        file.write_text(self.here(self._data["haproxy.cfg"], 0))
        environment = {"REPLICATION_PASSWORD": PASSWORD}
        with (self.folder / "proxy.log").open("ab") as log:
            command = [str(shutil.which("haproxy")), "-db", "-f", str(file)]
            process = subprocess.Popen(
                launch_command(SELF, signal.SIGKILL, command), env=environment, stdout=log, stderr=log
            )
        self.proxies.append(process)

    def role(self, number: int) -> str:
        """What a server says that it is; empty where it says nothing."""
        try:
            with client(redis_url(ROOT, "admin", f"{ADDRESSES[number]}:{self.server}")) as redis:
                return str(redis.role()[0].decode())
        except RedisError:
            return ""

    def knows(self, number: int, user: str) -> bool:
        """Whether a server would let this user in, and its Sentinel knows all others."""
        with client(redis_url(ROOT, "admin", f"{ADDRESSES[number]}:{self.server}")) as redis:
            known = redis.acl_getuser(user) is not None
        with client(f"redis://{ADDRESSES[number]}:{self.sentinel}") as redis:
            seen = redis.sentinel_master("pointbank")
        return known and (seen["num-slaves"], seen["num-other-sentinels"]) == (2, 2)


@pytest.fixture
def example(tmp_path: Path, compose_variables: dict[str, str]) -> Iterator[Example]:
    """Running, with a primary that takes writes."""
    cli = shutil.which("valkey-cli") or shutil.which("redis-cli")
    server = binaries.valkey().path
    if cli is None or shutil.which("haproxy") is None or server.name != "valkey-server":
        pytest.skip("it needs HAProxy, Valkey and its command line")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "valkey-cli").symlink_to(cli)
    (programs / "valkey-server").symlink_to(server)
    [line] = re.findall(
        r"^#   (user replica .*)$", (K8S / "examples" / "valkey.yaml").read_text(), re.MULTILINE
    )
    users = (
        Path(compose_variables["VALKEY_USERS_FILE"]).read_text() + line.replace("PASSWORD", PASSWORD) + "\n"
    )
    made = Example(tmp_path, users, f"{programs}:{os.environ['PATH']}")
    with ExitStack() as stack:
        stack.callback(made.end)
        for number in range(3):
            made.start(number)
        made.proxied()
        with client(redis_url(ROOT, "admin", f"127.0.0.1:{made.proxy}")) as redis:
            until(lambda: redis.set("begun", "1"))
        yield made


@contextmanager
def client(url: str) -> Iterator[Any]:
    """That tries once, and waits no longer than two seconds."""
    made: Any = Redis.from_url(url, socket_timeout=2, retry=Retry(NoBackoff(), 0))
    with made as redis:
        yield redis


def until(done: Callable[[], object]) -> float:
    """Seconds until it is so. What was said last where it is not so in time."""
    began, said = time.monotonic(), "it is not so"
    while time.monotonic() - began < WITHIN_S:
        try:
            if done():
                return time.monotonic() - began
        except RedisError as error:
            said = repr(error)
        time.sleep(0.2)
    raise AssertionError(said)


def test_a_primary_dies_and_tills_and_services_come_to_another_one_with_their_own_passwords(
    example: Example, tell: Tell
) -> None:
    settings = Settings(secret=ROOT, redis_url=redis_url(ROOT, "admin", f"127.0.0.1:{example.proxy}"))
    asyncio.run(allow_tills(settings, "acme"))
    pos = Keys(settings.cell, "acme").pos
    until(lambda: all(example.knows(number, till_user("acme")) for number in range(3)))
    with client(till_url(settings, "acme")) as till:
        first = till.xadd(pos, {"event": "a bill"})
        [primary] = [number for number in range(3) if example.role(number) == "master"]
        example.kill(primary)
        tell(f"a till is taken again after {until(lambda: till.xadd(pos, {'event': 'another'})):.1f} s")
    with client(redis_url(ROOT, "earn", f"127.0.0.1:{example.proxy}")) as earn:
        assert earn.xinfo_stream(pos)["first-entry"][0] == first
    example.start(primary)
    until(lambda: example.role(primary) == "slave")
    assert sorted(example.role(number) for number in range(3)) == ["master", "slave", "slave"]
