"""The services as real processes behind a gateway: each with its own secrets only, killed, stopped and started by pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from pointbank.embedded.process import SELF, free_port, launch_command
from pointbank.running import PROTOCOL
from pointbank.tokens import DevKeys, dev_keys, issue
from shared import credentials
from shared.config import Settings
from shared.messaging.keys import SERVICES
from tests.support.forked import Forked
from tests.support.gateway import Gateway

ROOT = Path(__file__).parents[2]
READY_S = 120.0
STOP_S = 40.0
ALL = "all"


@dataclass
class Replica:
    """One process of one service."""

    service: str
    number: int
    port: int
    log: Path
    process: subprocess.Popen[bytes] | Forked
    deaths: int = 0
    host: str = "127.0.0.1"

    @property
    def name(self) -> str:
        return f"{self.service}-{self.number}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def get(self, path: str) -> tuple[int, bytes]:
        """The answer to a GET; status 0 where nobody answers."""
        connection = HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            return 0, b""
        finally:
            connection.close()

    def ready_checks(self) -> dict[str, bool]:
        """The checks of /readyz by name; none where nobody answers."""
        status, body = self.get("/readyz")
        if not status:
            return {}
        return {check["name"]: check["ok"] for check in msgspec.json.decode(body)["checks"]}

    def serves(self, checks: Mapping[str, bool]) -> set[str]:
        """The tenants that each of its services serves, by its checks."""
        said = Counter(check.split(":")[1] for check in checks if "relay:" in check or "rest:" in check)
        return {
            tenant for tenant, times in said.items() if times == (len(SERVICES) if self.service == ALL else 1)
        }

    def committed(self, tenant: str) -> int:
        """How many items of a tenant this process has committed as new, by its own count."""
        total = 0.0
        for line in self.get("/metrics")[1].decode().splitlines():
            if line.startswith("pointbank_lane_items_total{") and f'tenant="{tenant}"' in line:
                labels, _, value = line.rpartition(" ")
                total += float(value) if 'outcome="done"' in labels else 0.0
        return int(total)

    def told(self) -> list[dict[str, Any]]:
        """What it logged, the lines that are events."""
        lines = self.log.read_bytes().splitlines()
        return [msgspec.json.decode(line) for line in lines if line.startswith(b"{")]


class Fleet:
    """Replicas of each service (or of the all-in-one process) on one directory of tenants, behind one address."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        services: Sequence[str] = SERVICES,
        replicas: int | Mapping[str, int] = 2,
        environment: Mapping[str, str] | None = None,
        apps: Mapping[str, str] | None = None,
        code: Path = ROOT,
        pods: bool = False,
        forked: bool = False,
    ) -> None:
        self.settings = settings
        self._pods_port = free_port() if pods else None
        """Of pods, each of which has an address of its own, while all listen on one port."""
        self.folder = folder
        self.code = code  # where the packages are that its processes run
        self._forked = forked
        """Whether its processes find their modules read (tests.support.forked)."""
        self.keys: DevKeys = dev_keys(folder / "keys")
        self.replicas: dict[str, Replica] = {}
        counts = replicas if isinstance(replicas, Mapping) else dict.fromkeys(services, replicas)
        self._names = [(service, number) for service in services for number in range(1, counts[service] + 1)]
        self._more = dict(environment or {})
        self._apps = dict(apps or {})
        # Linux ties "when my parent dies" to the thread that starts a child: this one lives as long as they do.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="fleet")
        self._supervised: set[str] = set()
        self.aside: set[str] = set()
        """Replicas that the gateway gives nothing, as a balancer does to those that are not ready."""
        self._ending = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self.gateway = Gateway(self._addresses)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def token(self, role: str, tenant: str, **more: Any) -> str:
        """A token of a role for a tenant."""
        return issue(self.keys, **{"role": role, "tenant": tenant, "subject": f"{role}@{tenant}", **more})

    def of(self, service: str) -> list[Replica]:
        """The replicas of a service, dead or alive; the all-in-one process is of every service."""
        return [one for one in self.replicas.values() if one.service in {service, ALL}]

    # ---- life and death

    def start(self, name: str, more: Mapping[str, str] = MappingProxyType({})) -> Replica:
        """Starts a replica, at the same port as before; with `more` in its environment this once."""
        before = self.replicas.get(name)
        service, _, number = name.rpartition("-")
        port = self._pods_port or (before.port if before else free_port())
        host = f"127.0.0.{int(number) + 1}" if self._pods_port else "127.0.0.1"
        log = self.folder / f"{name}.log"
        arguments = ["--factory", self._apps.get(service) or _app_of(service), "--http", PROTOCOL]
        arguments += ["--host", host, "--port", str(port), "--no-access-log", "--log-level", "warning"]
        environment = {**self._environment(service), **more}
        process = self._starter.submit(self._spawn, arguments, environment, log).result()
        deaths = before.deaths if before else 0
        self.replicas[name] = replica = Replica(service, int(number), port, log, process, deaths, host)
        return replica

    def kill(self, name: str) -> None:
        """SIGKILL; returns when it is gone."""
        replica = self.replicas[name]
        replica.process.kill()
        replica.process.wait(10)
        replica.deaths += 1

    def stop(self, name: str) -> int:
        """SIGTERM; returns its exit code when it has ended by itself."""
        process = self.replicas[name].process
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP_S)

    @contextmanager
    def supervised(self, *names: str) -> Iterator[None]:
        """Within, these are started again whenever they die."""
        self._supervised.update(names)
        try:
            yield
        finally:
            self._supervised.difference_update(names)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within, no process of the fleet takes a step: what is measured is of one moment."""
        alive = [one for one in self.replicas.values() if one.process.poll() is None]
        for one in alive:
            one.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for one in alive:
                if one.process.poll() is None:
                    one.process.send_signal(signal.SIGCONT)

    def wait_ready(
        self, *tenants: str, names: Sequence[str] | None = None, within_s: float = READY_S
    ) -> None:
        """Returns when every replica says that it is ready, and serves these tenants."""
        deadline = time.monotonic() + within_s
        for name in names if names is not None else list(self.replicas):
            while True:
                replica = self.replicas[name]
                checks = replica.ready_checks()
                served = replica.serves(checks)
                if checks and all(checks.values()) and served.issuperset(tenants):
                    break
                wrong = [check for check, ok in checks.items() if not ok]
                assert time.monotonic() < deadline, (name, wrong, served, _tail(replica.log))
                if name not in self._supervised:
                    assert replica.process.poll() is None, (name, _tail(replica.log))
                time.sleep(0.05)

    # ---- the whole of it

    @contextmanager
    def running(self) -> Iterator[Fleet]:
        """All replicas ready; at the end none is left."""
        with ExitStack() as stack:
            stack.callback(self._starter.shutdown)
            stack.callback(self._end_all)
            stack.enter_context(self.gateway.running())
            self._supervisor.start()
            for service, number in self._names:
                self.start(f"{service}-{number}")
            self.wait_ready()
            yield self

    def _end_all(self) -> None:
        self._ending.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        for one in self.replicas.values():
            one.process.kill()
        for one in self.replicas.values():
            one.process.wait(10)

    def _supervise(self) -> None:
        while not self._ending.wait(0.05):
            for name in sorted(self._supervised):
                replica = self.replicas[name]
                if replica.process.poll() is not None:
                    replica.deaths += 1
                    self.start(name)

    def _addresses(self, service: str) -> list[tuple[str, int]]:
        return [(one.host, one.port) for one in self.of(service) if one.name not in self.aside]

    def _spawn(
        self, arguments: list[str], environment: dict[str, str], log: Path
    ) -> subprocess.Popen[bytes] | Forked:
        if self._forked and self.code == ROOT:
            return Forked(arguments, folder=self.code, environment=environment, log=log)
        with log.open("ab") as out:
            return subprocess.Popen(
                launch_command(SELF, signal.SIGKILL, [sys.executable, "-m", "uvicorn", *arguments]),
                cwd=self.code,  # comes first on their path
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is the test's
            )

    def _environment(self, service: str) -> dict[str, str]:
        """What this service may know: no administrator's DSN, and of the secrets its own two (the all-in-one: the root)."""
        settings = self.settings
        assert settings.secret is not None
        given = {name: value for name, value in os.environ.items() if not name.startswith("POINTBANK_")}
        given |= {
            "POINTBANK_POSTGRES_HOST": settings.postgres_host,
            "POINTBANK_POSTGRES_PORT": str(settings.postgres_port),
            "POINTBANK_REDIS_URL": settings.redis_url,
            "POINTBANK_CONTROL_DATABASE": settings.control_database,
            "POINTBANK_JWT_KEYS": str(self.keys.jwks),
            "POINTBANK_LOG": "json",
            "POINTBANK_REDEEM_URL": self.base_url,
            **self._more,
        }
        if service == ALL:
            return given | {"POINTBANK_SECRET": settings.secret}
        return given | {
            "POINTBANK_SERVICE_SECRET": credentials.service_secret(settings.secret, service),
            "POINTBANK_IDENTITY_SECRET": settings.identity_root(),
        }


def _app_of(service: str) -> str:
    return "pointbank.allinone:create" if service == ALL else f"services.{service}.app:create"


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
