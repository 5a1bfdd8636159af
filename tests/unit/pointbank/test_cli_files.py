"""The command line: a file that is not what it should be ends in one line that names it, and exit code 2."""

import json
from pathlib import Path

import pytest

from pointbank.cli import main
from pointbank.embedded.process import free_port
from pointbank.tokens import dev_keys
from tests.support.programmes import changed

BINARY = b"\xd0\xff\x00\x01"


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    monkeypatch.setattr("sys.argv", ["pointbank", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    file = tmp_path / "some.bin"
    file.write_bytes(BINARY)
    return file


def test_a_binary_file_is_no_csv_of_settlements(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, binary: Path
) -> None:
    state = binary.parent / "var"
    dev_keys(state / "keys")
    line = said(capsys, monkeypatch, "settlement", "import", binary, "--programme", "shops", "--state", state)
    assert line.startswith(
        f"pointbank: {binary}: it is no CSV in UTF-8: 'utf-8' codec can't decode byte 0xd0"
    )
    assert line.endswith("; see `pointbank settlement import --help`")


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (BINARY, "is no text in UTF-8: 'utf-8' codec can't decode byte 0xd0"),
        (b"not json", "is no JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[]", "is no programme document (docs/programme.md)"),
    ],
)
def test_a_draft_that_is_no_document_is_named(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    binary: Path,
    content: bytes,
    wrong: str,
) -> None:
    binary.write_bytes(content)
    line = said(
        capsys, monkeypatch, "programme", "simulate", binary, "--from", "2026-01-01", "--to", "2026-02-01"
    )
    assert line.startswith(f"pointbank: {binary} {wrong}")


def test_a_binary_file_is_no_list_of_members(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, binary: Path
) -> None:
    dev_keys(binary.parent / "keys")
    line = said(capsys, monkeypatch, "segments", "put", "vip", binary, "--state", binary.parent)
    assert line.startswith(f"pointbank: {binary} is no text in UTF-8: ")


def test_keys_that_are_no_jwks_are_named_by_their_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, binary: Path
) -> None:
    monkeypatch.setenv("POINTBANK_JWT_KEYS", str(binary))
    line = said(capsys, monkeypatch, "gateway", binary.parent / "gateway")
    assert line.startswith("pointbank: POINTBANK_JWT_KEYS names no JWKS: ")


def test_keys_that_nobody_gives_are_named_by_their_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{free_port()}/jwks.json"
    monkeypatch.setenv("POINTBANK_JWT_KEYS", url)
    line = said(capsys, monkeypatch, "gateway", tmp_path / "gateway")
    assert line == (
        f"pointbank: POINTBANK_JWT_KEYS can't be read from {url}: <urlopen error [Errno 111] Connection refused>"
    )


def test_a_span_that_ends_before_it_begins_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, binary: Path
) -> None:
    binary.write_text("{}")
    span = ("--from", "2026-02-01", "--to", "2026-01-01")
    assert said(capsys, monkeypatch, "programme", "simulate", binary, *span) == (
        "pointbank: --from 2026-02-01 is not before --to 2026-01-01; see `pointbank programme simulate --help`"
    )


@pytest.mark.parametrize("zone", ["Mars", "localtime"])
def test_a_draft_in_no_time_zone_is_told_so_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, binary: Path, zone: str
) -> None:
    binary.write_text(json.dumps(changed("/programme/time_zone", zone)))
    span = ("--from", "2026-01-01", "--to", "2026-02-01")
    monkeypatch.setattr("sys.argv", ["pointbank", "programme", "simulate", str(binary), *span])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, " ".join(capsys.readouterr().err.split())) == (
        1,
        (
            "/programme/time_zone: It is no time zone of the IANA database: "
            "write it as it stands there, such as Asia/Riyadh or UTC."
        ),
    )


def test_a_folder_of_seals_that_is_not_there_is_no_proof(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "nonexistent"
    line = said(capsys, monkeypatch, "verify", "--chain", "--seals", folder)
    assert line == (
        f"pointbank: could not check: there is no folder {folder}; "
        "name the one that seals are exported to with `--seals`"
    )


def test_a_journal_is_not_passed_over_where_only_chains_are_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, binary: Path
) -> None:
    line = said(capsys, monkeypatch, "verify", "--chain", "--journal", binary)
    assert line == (
        "pointbank: --journal and --wait are for the whole check: leave out what asks for chains alone; "
        "see `pointbank verify --help`"
    )
