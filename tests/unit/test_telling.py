"""What tests counted is printed at the end of a run that is spread over workers, as `make test` is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROBE = """
def test_probe(tell):
    tell("{line}")
"""
TOLD = {
    "faults": ("at the moment of the fault", "POINTBANK_FAULT_SEED=7"),
    "flows": ("counted in the flows", "earn-1 committed 3, earn-2 committed 4"),
}
"""Folder -> the title of its lines, and what its probe tells."""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite with our configuration and one probe in each folder that tells."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "tests/support", tmp_path / "tests/support", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "tests/conftest.py", tmp_path / "tests")
    for folder, (_, line) in TOLD.items():
        made = tmp_path / "tests" / folder
        made.mkdir()
        shutil.copy(ROOT / "tests" / folder / "conftest.py", made)
        (made / f"test_{folder}.py").write_text(PROBE.format(line=line))
    return tmp_path


def test_seeds_and_counts_are_printed_by_a_run_of_workers_before_its_last_line(suite: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "1", "--dist", "loadfile"],
        cwd=suite,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    for title, line in TOLD.values():
        [at] = [number for number, shown in enumerate(lines) if f" {title} " in shown]
        assert lines[at + 1] == f"test_probe: {line}"
    assert re.fullmatch(r"2 passed in [0-9.]+s", lines[-1])
