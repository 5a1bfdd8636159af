"""What continuous integration brings along, so that no test skips on a new machine; and that it says what it can't."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

PROGRAMS = {"haproxy": "haproxy", "promtool": "prometheus"}
"""Debian's package of each program without which tests skip."""
BROUGHT = {"prometheus"}
"""What comes in the package of another."""
LEFT = {"kubectl"}
"""What Debian has is too old."""


def run(root: Path, folder: Path, *, apt: str) -> tuple[list[str], list[str]]:
    """Runs it on a machine that has nothing: what it asked of apt-get, and what it said. `apt`: what apt-get does then."""
    asked = folder / "asked"
    for name in ("bash", "dirname", "touch", "chmod"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    for name, text in {
        "id": "echo 0",
        "make": 'echo "make $*"',
        "apt-get": f'echo "$*" >> {asked}; {apt}',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    done = subprocess.run(
        [root / ".ci" / "run"],
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "make --no-print-directory check\n"
    return asked.read_text().splitlines(), done.stderr.splitlines()


def test_what_tests_need_is_installed(root: Path, tmp_path: Path) -> None:
    there = "; ".join(f"touch {tmp_path}/{name}; chmod +x {tmp_path}/{name}" for name in PROGRAMS)
    asked, said = run(root, tmp_path, apt=there)
    assert (asked, said) == (["install -qq -y --no-install-recommends haproxy"], []), (
        "the first brought them all"
    )


def test_what_can_not_be_installed_is_told_and_the_tests_run(root: Path, tmp_path: Path) -> None:
    asked, said = run(root, tmp_path, apt="exit 100")
    assert [line for line in asked if line.startswith("install")] == [
        f"install -qq -y --no-install-recommends {package}" for package in PROGRAMS.values()
    ]
    assert [line.partition(":")[0] for line in said] == [
        f"{name} could not be installed" for name in PROGRAMS
    ]


def test_each_program_without_which_a_test_skips_is_asked_for(root: Path) -> None:
    texts = [file.read_text() for file in (root / "tests").rglob("*.py")]
    skipped = {name.lower() for text in texts for name in re.findall(r'skip\("(\w+) is not installed', text)}
    assert skipped == PROGRAMS.keys() | BROUGHT | LEFT
