"""The audit of the locks: what pip-audit did not ask about is never taken for well."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy import audit

ADVISORY = {
    "id": "PYSEC-2014-8",
    "fix_versions": ["2.7.2"],
    "aliases": ["CVE-2014-0012"],
    "description": "...",
}
CANARY = {"name": "jinja2", "version": "2.4.1", "vulns": [ADVISORY]}
WELL = {"name": "redis", "version": "8.1.0", "vulns": []}
# As pip-audit 2.10.1 printed it behind a mirror without advisories; it ended with 0.
SKIPPED = {
    "name": "rich",
    "skip_reason": "Dependency not found on PyPI and could not be audited: rich (15.0.0)",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "requirements.lock").write_text("redis==8.1.0\n")
    return tmp_path


def tool(folder: Path, *, canary: list[Any] | None, lock: list[Any] | None) -> list[str]:
    """A program that answers as pip-audit does, from these dependencies; None: it ends with a traceback."""
    answers = {"canary.txt": canary, "requirements.lock": lock}
    program = folder / "answers.py"
    program.write_text(
        "import json, pathlib, sys\n"
        f"answer = json.loads({json.dumps(json.dumps(answers))})[pathlib.Path(sys.argv[-1]).name]\n"
        "assert answer is not None, 'no name resolution'\n"
        "print(json.dumps({'dependencies': answer, 'fixes': []}))\n"
        "sys.exit(any(one.get('vulns') for one in answer))\n"
    )
    return [sys.executable, str(program)]


@pytest.mark.parametrize(
    ("canary", "lock", "code", "said"),
    [
        ([CANARY], [WELL], 0, "requirements.lock: 1 packages asked about, 0 advisories."),
        ([CANARY], [WELL, CANARY], 1, "jinja2 2.4.1: PYSEC-2014-8, mended in 2.7.2"),
        ([CANARY], [SKIPPED, CANARY], 1, "NOT PROVED: rich: Dependency not found on PyPI"),
        ([CANARY], [WELL, SKIPPED], 3, "NOT PROVED: rich: Dependency not found on PyPI"),
        ([CANARY], [], 3, "0 packages asked about"),
        ([CANARY], None, 3, "NOT PROVED: requirements.lock: AssertionError: no name resolution"),
        ([SKIPPED], [WELL], 3, "NOT PROVED: the advisory service can't be reached, or knows nothing"),
        ([{**CANARY, "vulns": []}], [WELL], 3, "it has no advisory of jinja2==2.4.1"),
        (None, [WELL], 3, "NOT PROVED: the advisory service can't be reached, or knows nothing"),
    ],
)
def test_it_is_well_only_where_somebody_who_knows_was_asked_about_everything(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    canary: list[Any] | None,
    lock: list[Any] | None,
    code: int,
    said: str,
) -> None:
    assert audit.main(tool(root, canary=canary, lock=lock), root) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_an_advisory_that_does_not_concern_us_is_told_with_its_reason_and_no_reason_to_fail(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**WELL, "vulns": [{**ADVISORY, "id": "PYSEC-2026-1"}]}
    monkeypatch.setattr(audit, "ACCEPTED", {"PYSEC-2026-1": "We never call it."})
    assert audit.main(tool(root, canary=[CANARY], lock=[other]), root) == 0
    assert "redis 8.1.0: PYSEC-2026-1, accepted: We never call it." in capsys.readouterr().out


def test_every_lock_of_ours_is_asked_about() -> None:
    assert [file.name for file in sorted(audit.ROOT.glob("requirements*.lock"))] == [
        "requirements-dev.lock",
        "requirements-otel.lock",
        "requirements.lock",
    ]
