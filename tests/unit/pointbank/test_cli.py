"""The command line: what is expected to go wrong ends in one line that says what to do, and exit code 2."""

from pathlib import Path

import pytest

from pointbank.cli import main
from shared.config import Settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*Settings.model_fields, "state", "tenant"):
        monkeypatch.delenv(f"POINTBANK_{name.upper()}", raising=False)


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr("sys.argv", ["pointbank", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("environment", "arguments", "line"),
    [
        (
            {},
            "migrate",
            "pointbank: set POINTBANK_POSTGRES_DSN to a DSN of a database administrator",
        ),
        (
            {"POINTBANK_LOG": "shout"},
            "tenant list",
            "pointbank: POINTBANK_LOG: Input should be 'json', 'console' or 'auto'",
        ),
        (
            {},
            "tenant create Acme",
            (
                "pointbank: 'Acme' is no tenant code. A tenant's code is lower-case letters, digits and hyphens, at most 40, "
                'starting with a letter; not "control".'
            ),
        ),
    ],
)
def test_a_mistake_is_named_in_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    arguments: str,
    line: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert said(capsys, monkeypatch, *arguments.split()) == line


def test_a_server_that_is_away_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTBANK_POSTGRES_DSN", "postgresql://admin@127.0.0.1:1/postgres")
    line = said(capsys, monkeypatch, "tenant", "list")
    assert line.startswith("pointbank: PostgreSQL can't be reached: ")
    assert "127.0.0.1" in line
    assert line.endswith(" Is POINTBANK_POSTGRES_DSN (or _HOST, _PORT) right?")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(**_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("pointbank.generate.json_lines", broken)
    monkeypatch.setattr("sys.argv", ["pointbank", "generate", "--out", str(tmp_path / "bills.jsonl")])
    with pytest.raises(KeyError, match="a bug"):
        main()
