"""The processes of docker-compose.yml, run as they are told to be, without containers: whatever a setting, a role or a
Redis user lacks shows here and not in production."""

import json
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis

from pointbank import embedded
from pointbank.embedded.process import free_port
from pointbank.tills import till_url
from pointbank.tokens import dev_keys
from shared.config import Settings
from shared.messaging.keys import Keys
from tests.support.patience import PATIENCE_S
from tests.support.servers import UNTENDED

Valkey = Callable[..., AbstractContextManager[Path]]
READY_S = 180
GRACE_S = 90  # stop_grace_period, terminationGracePeriodSeconds


@dataclass
class Machine:
    """Where PostgreSQL and Valkey are, and the services that run there."""

    folder: Path
    root: Path
    compose: dict[str, Any]
    postgres_dsn: str
    redis_port: int
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        """What Compose gives this process, with the addresses of this machine."""
        parts = urlsplit(self.postgres_dsn)
        words = {
            "@valkey:6379": f"@127.0.0.1:{self.redis_port}",
            "/etc/pointbank/jwks.json": str(self.folder / "keys" / "jwks.json"),
        }
        given: dict[str, str] = self.compose["services"][name]["environment"]
        for word, value in words.items():
            given = {key: known.replace(word, value) for key, known in given.items()}
        here = {"POINTBANK_POSTGRES_HOST": str(parts.hostname), "POINTBANK_POSTGRES_PORT": str(parts.port)}
        here["POINTBANK_POSTGRES_DSN"] = self.postgres_dsn
        return {key: here.get(key, known) for key, known in given.items()} | {
            "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, *command: str) -> str:
        """A job with the environment of migrate, to its end."""
        environment = self.environment("migrate")
        done = subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def protocol(self) -> str:
        """How the image's uvicorn answers."""
        (protocol,) = re.findall(r"UVICORN_HTTP=(\S+)", (self.root / "Dockerfile").read_text())
        return str(protocol)

    def start(self, name: str) -> None:
        """A service, by its container's command."""
        self.ports[name] = free_port()
        uvicorn = {"UVICORN_HTTP": self.protocol} | {
            "UVICORN_HOST": "127.0.0.1",
            "UVICORN_PORT": str(self.ports[name]),
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                self.compose["services"][name]["command"],
                env=self.environment(name) | uvicorn,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def ready(self, name: str) -> tuple[int, str]:
        """The answer of /readyz; status 0 while nobody listens."""
        connection = HTTPConnection("127.0.0.1", self.ports[name], timeout=5)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def machine(root: Path, compose: dict[str, Any], valkey: Valkey, services: list[str]) -> Iterator[Machine]:
    """All of docker-compose.yml with a tenant acme, ready."""
    folder = Path(tempfile.mkdtemp(prefix="pointbank-deploy-"))
    folder.chmod(0o711)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        servers = stack.enter_context(embedded.servers(folder / "var", pg_settings=UNTENDED))
        if servers.postgres is None:
            pytest.skip("POINTBANK_POSTGRES_DSN names a server whose roles belong to others")
        (folder / "valkey").mkdir()
        port = free_port()
        stack.enter_context(valkey(folder / "valkey", port=port))
        dev_keys(folder / "keys")
        made = Machine(folder, root, compose, servers.postgres_dsn, port)
        made.run("pointbank", "migrate")
        made.run("pointbank", "tenant", "create", "acme")
        for name in services:
            made.start(name)
            stack.callback(made.processes[name].kill)
        deadline = time.monotonic() + READY_S
        for name in services:
            while (answer := made.ready(name))[0] != 200:
                assert made.processes[name].poll() is None, made.log(name)
                assert time.monotonic() < deadline, (name, answer, made.log(name)[-3000:])
                time.sleep(0.1)
        yield made


def test_a_bad_entry_comes_back_to_its_till_through_earn_and_notifier(machine: Machine) -> None:
    environment = machine.environment("migrate")
    administrator = Settings(
        secret=environment["POINTBANK_SECRET"], redis_url=environment["POINTBANK_REDIS_URL"]
    )
    till = Redis.from_url(till_url(administrator, "acme"))
    keys = Keys("main", "acme")
    entry: Any = till.xadd(keys.pos, {"event": "not a bill"})
    found: Any = till.xread({keys.out("pos"): "0"}, block=20_000, count=10)
    assert found, "no reply"
    [(_, fields)] = found[0][1]
    reply = json.loads(fields[b"event"])
    assert (reply["type"], reply["source"], reply["tenantid"]) == ("bill.rejected.v1", "/earn", "acme")
    assert reply["data"]["stream_id"] == entry.decode()
    assert reply["data"]["code"] == "not_json"


def test_a_bill_that_waits_and_is_offered_again_is_answered_twice(machine: Machine) -> None:
    environment = machine.environment("migrate")
    administrator = Settings(
        secret=environment["POINTBANK_SECRET"], redis_url=environment["POINTBANK_REDIS_URL"]
    )
    till = Redis.from_url(till_url(administrator, "acme"))
    keys = Keys("main", "acme")
    bill = {
        "merchant": "new-shop",
        "bill_ref": "B-1",
        "occurred_at": datetime.now(UTC).isoformat(),
        "currency": "SAR",
        "total_minor": 100,
        "lines": [],
    }
    event = {
        "specversion": "1.0",
        "id": "B-1",
        "source": "/pos/new-shop/T1",
        "type": "bill.completed.v1",
        "data": bill,
    }
    answers: list[dict[str, Any]] = []
    for _ in range(2):
        till.xadd(keys.pos, {"event": json.dumps(event)})
        deadline = time.monotonic() + PATIENCE_S
        before = len(answers)
        while len(answers) == before:
            assert time.monotonic() < deadline, "no reply"
            found: Any = till.xread({keys.out("new-shop.T1"): "0"}, block=500, count=10)
            answers = [json.loads(fields[b"event"]) for _, entries in found for _, fields in entries]
    first, again = answers
    assert (first["type"], first["data"]["status"]) == ("bill.recorded.v1", "waiting")
    assert (again["id"], again["data"]) == (first["id"], first["data"])


def test_no_process_was_refused_anything_by_postgres_or_redis(machine: Machine, services: list[str]) -> None:
    time.sleep(1.5)  # housekeeping comes round every second
    for name in services:
        lines = [json.loads(line) for line in machine.log(name).splitlines()]
        assert [line["tenant"] for line in lines if line["event"] == "serving tenant"] == ["acme"], name
        assert [line for line in lines if line.get("level") not in {"info", "debug"}] == [], name


def test_a_process_writes_nothing_where_it_stands(machine: Machine, services: list[str]) -> None:
    left = {path.name for path in machine.folder.iterdir()} - {f"{name}.log" for name in services}
    assert left == {"var", "valkey", "keys"}


def test_every_process_ends_in_order_on_sigterm(machine: Machine) -> None:
    for process in machine.processes.values():
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while any(process.poll() is None for process in machine.processes.values()):
        late = [name for name, process in machine.processes.items() if process.poll() is None]
        assert time.monotonic() < deadline, "\n".join(machine.log(name) for name in late)
        time.sleep(0.05)
    # uvicorn raises the signal again after it has finished: that is how a supervisor sees why it ended.
    assert {process.poll() for process in machine.processes.values()} <= {0, -signal.SIGTERM}
    assert [name for name in machine.processes if "Traceback" in machine.log(name)] == []
