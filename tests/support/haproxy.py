"""HAProxy as a process, on the files that `pointbank gateway` writes."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from pointbank.cli.app import app
from pointbank.embedded.process import SELF, free_port, launch_command
from tests.support.patience import PATIENCE_S

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""A client without it loads every authority there is, for calls that are in the clear."""


@dataclass
class Edge:
    """A gateway in a folder of its own. Files that are an operator's may be written before it runs."""

    folder: Path
    jwks: Path
    backends: Mapping[str, Sequence[str]]
    options: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    words: Sequence[str] = ("-db",)
    """How HAProxy is started: with `-W` too as in a container, where a master may be told to read everything anew."""
    pid: int = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self, *, issuer: str = "pointbank-dev") -> None:
        """Its files, by the command."""
        given = [f"--backend={name}={one}" for name, servers in self.backends.items() for one in servers]
        given += [f"--bind=127.0.0.1:{self.port}", f"--metrics=127.0.0.1:{self.metrics_port}", *self.options]
        environment = {"POINTBANK_JWT_KEYS": str(self.jwks), "POINTBANK_JWT_ISSUER": issuer}
        done = CliRunner().invoke(app, ["gateway", str(self.folder), *given], env=environment)
        assert done.exit_code == 0, (done.output, done.exception)

    @contextmanager
    def running(self, *, checked: bool = True) -> Iterator[Edge]:
        """Within, it listens, and has found each of its servers well unless `checked` is false: one whose first check fails is out
        of turn at once, not after three. The test is skipped where HAProxy is not installed."""
        program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
        if program is None:
            pytest.skip("HAProxy is not installed: sudo apt-get install haproxy")
        self.write()
        config = self.folder / "haproxy.cfg"
        said = subprocess.run([program, "-c", "-f", config], capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        command = launch_command(SELF, signal.SIGKILL, [program, *self.words, "-f", str(config)])
        starter = ThreadPoolExecutor(1)  # lives as long as its child: see Fleet
        with (self.folder / "haproxy.log").open("wb") as out:
            process = starter.submit(
                subprocess.Popen, command, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            ).result()
        self.pid = process.pid
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not self._listens():
                assert process.poll() is None, (self.folder / "haproxy.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            if checked:
                self._wait_until_all_are_well()
            yield self
        finally:
            process.terminate()
            process.wait(10)
            starter.shutdown()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
        except OSError:
            return False
        return True

    def _wait_until_all_are_well(self) -> None:
        wanted = {
            f"{service}{k}" for service, servers in self.backends.items() for k, _ in enumerate(servers, 1)
        }
        deadline = time.monotonic() + PATIENCE_S
        while wanted - self._well():
            assert time.monotonic() < deadline, (wanted - self._well(), self._log()[-2000:])
            time.sleep(0.05)

    def _well(self) -> set[str]:
        """The servers whose last check found them well, by HAProxy's metrics."""
        with httpx.Client(timeout=5, trust_env=False, verify=NO_TLS) as client:
            told = client.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text
        return {
            sample.labels["server"]
            for family in text_string_to_metric_families(told)
            if family.name == "haproxy_server_check_status"
            for sample in family.samples
            if sample.labels["state"] == "L7OK" and sample.value == 1
        }

    def _log(self) -> str:
        return (self.folder / "haproxy.log").read_text(errors="replace")

    def ask(self, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
        """One call; the path goes out as it is written."""
        headers = httpx.Headers(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        with httpx.Client(timeout=20, trust_env=False, verify=NO_TLS) as client:
            request = client.build_request(method, self.base_url + "/", headers=headers, **more)
            request.extensions["target"] = path.encode()
            return client.send(request)

    def told(self, answer: httpx.Response) -> dict[str, Any]:
        """Its log line about a call: it is written when the call has ended, a moment after its answer."""
        [line] = self.lines(answer.headers["x-request-id"])
        found: dict[str, Any] = msgspec.json.decode(line)
        return found

    def lines(self, request_id: str) -> list[bytes]:
        """The whole lines that name a call, at least one."""
        said = f'"request_id":"{request_id}"'.encode()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            lines = (self.folder / "haproxy.log").read_bytes().splitlines(keepends=True)
            if found := [line for line in lines if said in line and line.endswith(b"\n")]:
                return found
            time.sleep(0.01)
        raise AssertionError(f"no line about {request_id}")
