"""Each guard of the table is taken out of a copy of the tree: the tests that are for it fail there, and pass where it stands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.config import Settings
from tests.mutations.guards import GUARDS, Guard
from tests.mutations.mutants import Patch
from tests.support.processes import ROOT

COPIED = ("services", "shared", "pointbank", "tests", "deploy", "bench", "docs")
PASSED, FAILED = 0, 1
"""pytest's exit codes; any other means that it could not look, which notices nothing."""


def fits(patch: Patch) -> int:
    return (ROOT / patch.file).read_text(encoding="utf-8").count(patch.old)


def test_every_patch_still_fits_the_code_and_every_test_is_there() -> None:
    times = {name: [fits(patch) for patch in guard.patches] for name, guard in GUARDS.items()}
    assert {name: found for name, found in times.items() if set(found) != {1}} == {}
    for name, guard in GUARDS.items():
        assert guard.noticed_by, name
        for test in guard.noticed_by:
            file, _, function = test.partition("::")
            assert f"def {function.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_there_are_as_many_as_were_asked_for_and_each_takes_out_something_else() -> None:
    patches = [patch for guard in GUARDS.values() for patch in guard.patches]
    assert len(set(patches)) == len(patches) >= 25
    assert all(patch.old != patch.new for patch in patches)


def test_the_document_lists_each_guard_and_what_noticed_it() -> None:
    assert (ROOT / "docs" / "guards.md").read_text(encoding="utf-8").endswith(table()), (
        "python -m tests.mutations.test_guards"
    )


def table() -> str:
    """The table of docs/guards.md."""
    lines = ["| guard | kind | what was done to the copy | what noticed it |", "|---|---|---|---|"]
    for name, guard in GUARDS.items():
        tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in guard.noticed_by)
        lines.append(f"| {name} | {guard.kind} | {guard.without} | {tests} |")
    return "\n".join(lines) + "\n"


def copy_of_the_tree(folder: Path) -> Path:
    """All that the tests need; nothing in it is shared with the tree itself."""
    code = folder / "tree"
    for part in COPIED:
        shutil.copytree(ROOT / part, code / part, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    for file in ROOT.iterdir():
        if file.is_file() and file.suffix in {".toml", ".lock", ".md", ".yml", ""}:
            shutil.copy2(file, code / file.name)
    return code


@contextmanager
def without(code: Path, guard: Guard) -> Iterator[None]:
    """The copy without this guard, for as long as it lasts."""
    stood: dict[Path, tuple[str, os.stat_result]] = {}
    for patch in guard.patches:
        path = code / patch.file
        text = path.read_text(encoding="utf-8")
        stood.setdefault(path, (text, path.stat()))
        assert text.count(patch.old) == 1, (
            f"{patch.file}: {patch.old!r} stands there {text.count(patch.old)} times"
        )
        path.write_text(text.replace(patch.old, patch.new), encoding="utf-8")
    try:
        yield
    finally:
        for path, (text, seen) in stood.items():
            path.write_text(text, encoding="utf-8")
            # Byte code is known by its source's time and size: what was compiled of the patch is not taken for this.
            os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def tried(code: Path, settings: Settings, *tests: str) -> subprocess.CompletedProcess[str]:
    """These tests, in the copy, by its own code alone, on servers that run already."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {
        **os.environ,
        "PYTHONPATH": str(code),
        "POINTBANK_POSTGRES_DSN": settings.admin_dsn(),
        "POINTBANK_REDIS_URL": settings.redis_url,
    }
    return subprocess.run(
        command, cwd=code, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_tree(tmp_path_factory.mktemp("guards"))


@pytest.mark.soak
@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_that_is_gone_is_noticed(settings: Settings, code: Path, name: str) -> None:
    with without(code, GUARDS[name]):
        done = tried(code, settings, *GUARDS[name].noticed_by)
    assert done.returncode == FAILED, f"{done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"


@pytest.mark.soak
def test_where_every_guard_stands_the_same_tests_pass(settings: Settings, code: Path) -> None:
    done = tried(code, settings, *sorted({test for guard in GUARDS.values() for test in guard.noticed_by}))
    assert done.returncode == PASSED, f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}"


if __name__ == "__main__":
    document = ROOT / "docs" / "guards.md"
    head, _, _ = document.read_text(encoding="utf-8").partition("| guard | kind |")
    document.write_text(head + table(), encoding="utf-8")
