"""A real Prometheus with the rules as shipped: it scrapes real processes and says what fires."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import pytest
import yaml

from pointbank.embedded.process import SELF, free_port, launch_command

DEPLOY = Path(__file__).parents[2] / "deploy"
SHIPPED = DEPLOY / "prometheus"
LOOK_EVERY_S = 2.0
_open = build_opener(ProxyHandler({})).open


class Prometheus:
    """One server. Intervals, labels and rules are those of deploy/prometheus, those of gateways (`doors`) of the PodMonitor; only
    where the targets are is the test's."""

    def __init__(self, folder: Path, ports: Sequence[int], doors: Sequence[int] = ()) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.began = time.monotonic()
        self.history: list[str] = []
        """What began to fire or ended, with the seconds since it was started."""
        self._fired: set[str] = set()
        self._doors = doors
        folder.mkdir()
        self._write(ports)

    @contextmanager
    def running(self) -> Iterator[Prometheus]:
        """Scrapes and judges within."""
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("prometheus is not installed (Debian's package prometheus has it)")
        command = [
            program,
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                launch_command(SELF, signal.SIGKILL, command), stdout=log, stderr=log, start_new_session=True
            )
        self.began = time.monotonic()
        try:
            yield self
        finally:
            self._process.kill()
            self._process.wait(10)

    def aim(self, ports: Sequence[int]) -> None:
        """Other targets from here on."""
        assert self._process is not None
        self._write(ports)
        self._process.send_signal(signal.SIGHUP)

    def _write(self, ports: Sequence[int]) -> None:
        said = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
        said["rule_files"] = [str(SHIPPED / "rules" / "*.yml")]
        [job] = [one for one in said["scrape_configs"] if one["job_name"] == "pointbank"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
        said["scrape_configs"] = [job, _of_pods(self._doors)]
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(said))

    def _ask(self, path: str) -> Any:
        with _open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What an expression comes to now."""
        found = self._ask(f"/api/v1/query?query={quote(expression)}")["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def firing(self, alert: str, **labels: str) -> bool:
        """Whether the alert fires now for these labels. What changed since the last look goes into the history."""
        found = [one for one in self._ask("/api/v1/alerts")["alerts"] if one["state"] == "firing"]
        now = {_told(one["labels"]) for one in found}
        for name in sorted(now ^ self._fired):
            at = time.monotonic() - self.began
            self.history.append(f"{at:7.0f} s {'fires' if name in now else 'is gone'}: {name}")
        self._fired = now
        return any(
            one["labels"]["alertname"] == alert and labels.items() <= one["labels"].items() for one in found
        )

    async def fires(self, alert: str, within_min: float, **labels: str) -> None:
        """Returns when it does."""
        await self._until(True, alert, within_min, labels)

    async def goes(self, alert: str, within_min: float, **labels: str) -> None:
        """Returns when it fires no more."""
        await self._until(False, alert, within_min, labels)

    async def _until(self, so: bool, alert: str, within_min: float, labels: dict[str, str]) -> None:
        deadline = time.monotonic() + within_min * 60
        while True:
            try:
                if await asyncio.to_thread(self.firing, alert, **labels) is so:
                    return
            except OSError:
                if time.monotonic() - self.began > 30:  # it had its time to begin to listen
                    raise
            what = "does not fire" if so else "does not go"
            assert time.monotonic() < deadline, f"{alert} {labels} {what} within {within_min} minutes"
            await asyncio.sleep(LOOK_EVERY_S)


def _of_pods(ports: Sequence[int]) -> dict[str, Any]:
    """The job that an operator makes of the gateways' PodMonitor: a pod's labels, and then what the monitor changes in them."""
    said = yaml.safe_load_all((DEPLOY / "k8s" / "prod" / "monitor.yaml").read_text())
    [monitor] = [one for one in said if one["kind"] == "PodMonitor"]
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    name = f"pointbank/{monitor['metadata']['name']}"
    labels = {"namespace": "pointbank", "container": "gateway", "endpoint": endpoint["port"], "job": name}
    return {
        "job_name": f"podMonitor/{name}/0",
        "metrics_path": endpoint["path"],
        "params": endpoint["params"],
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["scrapeTimeout"],
        "static_configs": [
            {"targets": [f"127.0.0.1:{port}"], "labels": {**labels, "pod": f"gateway-{number}"}}
            for number, port in enumerate(ports)
        ],
        "relabel_configs": [
            {"target_label": one["targetLabel"], "replacement": one["replacement"]}
            for one in endpoint["relabelings"]
        ],
    }


def _told(labels: dict[str, str]) -> str:
    more = ", ".join(
        f"{k}={v}" for k, v in sorted(labels.items()) if k not in {"alertname", "severity", "job"}
    )
    return f"{labels['alertname']} {{{more}}}"
