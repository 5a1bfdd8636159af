"""What the deployment tests look at: the compose file as Compose resolves it, the base as Kustomize renders it."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from pointbank.embedded import binaries

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "k8s" / "base"
SCRIPTS = Path(sysconfig.get_path("scripts"))


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a tool of requirements-dev.lock in the project's folder, with no environment but the one given."""

    def run_tool(
        tool: str, *arguments: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [sys.executable if tool == "python" else SCRIPTS / tool, *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=dict(env or {}), capture_output=True, text=True, timeout=120, check=False
        )

    return run_tool


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def services() -> list[str]:
    """The services of the architecture."""
    return ["members", "earn", "redeem", "tiers", "notifier"]


@pytest.fixture(scope="session")
def secrets_directory(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """A folder with `.env` and `var/users.acl`, made as the README says."""
    directory = tmp_path_factory.mktemp("deployment")
    done = run(
        "python", "-m", "deploy.env", "--directory", directory, env={"POINTBANK_SECRET": "root of the tests"}
    )
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="session")
def compose_variables(secrets_directory: Path) -> dict[str, str]:
    """All that docker-compose.yml asks its environment for."""
    lines = (secrets_directory / ".env").read_text().splitlines()
    return {
        **dict(line.split("=", 1) for line in lines),
        "POINTBANK_JWKS_FILE": str(secrets_directory / "jwks.json"),
        "POINTBANK_JWT_ISSUER": "https://id.example.com",
        "VALKEY_USERS_FILE": str(secrets_directory / "var" / "users.acl"),
    }


@pytest.fixture(scope="session")
def compose(compose_variables: dict[str, str], run: Run) -> dict[str, Any]:
    """docker-compose.yml as Compose resolves it, whatever `.env` lies beside it."""
    arguments = (
        "--env-file",
        "/dev/null",
        "--file",
        ROOT / "docker-compose.yml",
        "config",
        "--format",
        "json",
    )
    done = run("docker-compose", *arguments, env=compose_variables)
    assert done.returncode == 0, done.stderr
    resolved: dict[str, Any] = json.loads(done.stdout)
    return resolved


@pytest.fixture(scope="session")
def kubernetes_secrets(run: Run) -> dict[str, dict[str, str]]:
    """The values of each Secret that `python3 -m deploy.env --kubernetes` makes."""
    arguments = ("--kubernetes", "--postgres-dsn", "postgresql://admin@db/postgres")
    done = run("python", "-m", "deploy.env", *arguments, env={"POINTBANK_SECRET": "root of the tests"})
    assert done.returncode == 0, done.stderr
    return {item["metadata"]["name"]: item["stringData"] for item in json.loads(done.stdout)["items"]}


def render(folder: Path) -> list[dict[str, Any]]:
    """The few things our base asks of Kustomize: its resources, with the tags of its images."""
    asked = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(asked) <= {"apiVersion", "kind", "resources", "images"}, "teach this loader first"
    rendered = [
        document
        for name in asked["resources"]
        for document in yaml.safe_load_all((folder / name).read_text())
    ]
    tags = {image["name"]: f"{image['name']}:{image['newTag']}" for image in asked["images"]}
    for document in rendered:
        pod = pod_of(document)
        for container in [*pod.get("containers", []), *pod.get("initContainers", [])]:
            container["image"] = tags.get(container["image"], container["image"])
    return rendered


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    """The pod that a Deployment or Job makes; empty for anything else."""
    pod: dict[str, Any] = document.get("spec", {}).get("template", {}).get("spec", {})
    return pod


@pytest.fixture(scope="session")
def manifests() -> list[dict[str, Any]]:
    """Every object of deploy/k8s/base."""
    return render(BASE)


@pytest.fixture(scope="session")
def workloads(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The Deployments and the Job, by the name of their container."""
    made = [document for document in manifests if document["kind"] in ("Deployment", "Job")]
    return {pod_of(document)["containers"][0]["name"]: document for document in made}


Valkey = Callable[..., AbstractContextManager[Path]]


@pytest.fixture(scope="session")
def valkey(compose: dict[str, Any], compose_variables: dict[str, str]) -> Valkey:
    """Runs Valkey by the very command of its container, with its data in a folder; gives its socket."""
    shell, flags, script = compose["services"]["valkey"]["command"]
    program = binaries.valkey().path
    if program.name != "valkey-server":
        pytest.skip(f"the container runs valkey-server, this machine has {program}")

    @contextmanager
    def running(data: Path, *, port: int = 0) -> Iterator[Path]:
        words = {
            "$$": "$",
            "/etc/valkey/users.acl": compose_variables["VALKEY_USERS_FILE"],
            "/data": str(data),
        }
        said = f"{script.rstrip()} --port {port} --unixsocket s"
        for word, value in words.items():
            said = said.replace(word, value)
        path = f"{program.parent}:{os.environ['PATH']}"
        process = subprocess.Popen([shell, flags, said], cwd=data, env={"PATH": path}, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            while b"Ready to accept connections" not in (line := process.stdout.readline()):
                assert line, "Valkey has ended before it was ready"
            yield data / "s"
        finally:
            process.terminate()
            process.communicate(timeout=10)

    return running
