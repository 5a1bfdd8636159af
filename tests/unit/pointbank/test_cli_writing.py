"""The command line: a file that a command writes is there whole, or what was there before is."""

import errno
import os
import threading
from pathlib import Path
from typing import IO

import pytest
import typer

from pointbank.cli import main
from pointbank.cli.writing import whole_file, whole_piece


def test_a_file_is_there_when_all_of_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "november.csv"
    file.write_text("as it was")
    file.chmod(0o640)
    with whole_file(file, "w", encoding="utf-8") as written:
        written.write("as it is")
        assert file.read_text() == "as it was"
    assert file.read_text() == "as it is"
    assert (file.stat().st_mode & 0o777, list(tmp_path.iterdir())) == (0o640, [file])


def half_written(file: Path, then: BaseException) -> None:
    with whole_file(file, "w", encoding="utf-8") as written:
        written.write("half")
        raise then


def test_where_it_fails_what_was_there_stays_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "november.csv"
    file.write_text("as it was")
    with pytest.raises(KeyboardInterrupt):
        half_written(file, KeyboardInterrupt())
    assert (file.read_text(), list(tmp_path.iterdir())) == ("as it was", [file])


def test_a_command_that_ends_with_what_it_found_has_written_its_file(tmp_path: Path) -> None:
    file = tmp_path / "found.jsonl"
    with pytest.raises(typer.Exit) as ended:
        half_written(file, typer.Exit(1))
    assert (ended.value.exit_code, file.read_text()) == (1, "half")


def half_a_piece(rows: IO[bytes]) -> None:
    with whole_piece(rows):
        rows.write(b"b1\n")
        raise ConnectionError


@pytest.mark.parametrize("others", [[], [b"a1\n", b"a2\n"]], ids=["alone", "after another"])
def test_of_a_tenant_that_failed_half_way_nothing_stands_beside_what_others_wrote(
    tmp_path: Path, others: list[bytes]
) -> None:
    file = tmp_path / "due.jsonl"
    with whole_file(file, "wb") as rows:
        with whole_piece(rows):
            rows.writelines(others)
        with pytest.raises(ConnectionError):
            half_a_piece(rows)
        with whole_piece(rows):
            rows.write(b"c1\n")
    assert file.read_bytes() == b"".join([*others, b"c1\n"])


def test_a_link_goes_on_to_where_it_went(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("before")
    (tmp_path / "link.csv").symlink_to(tmp_path / "there.csv")
    with whole_file(tmp_path / "link.csv", "w", encoding="utf-8") as written:
        written.write("after")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "there.csv").read_text() == "after"


def test_a_pipe_is_written_as_it_comes(tmp_path: Path) -> None:
    pipe, heard = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    listener = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    listener.start()
    with whole_file(pipe, "w", encoding="utf-8") as written:
        written.write("a line")
    listener.join()
    assert (heard, list(tmp_path.iterdir())) == (["a line"], [pipe])


def test_what_a_pipe_has_heard_is_not_taken_back() -> None:
    heard, said = os.pipe()
    try:
        with whole_file(Path(f"/dev/fd/{said}"), "wb") as written, pytest.raises(ConnectionError):
            half_a_piece(written)
        assert os.read(heard, 100) == b"b1\n"
    finally:
        os.close(heard)
        os.close(said)


def test_a_pipe_without_a_name_is_written_as_it_comes() -> None:
    """`--wallets /dev/stdout`, or the shell's `>(gzip)`."""
    heard, said = os.pipe()
    try:
        with whole_file(Path(f"/dev/fd/{said}"), "w", encoding="utf-8") as written:
            written.write("a line")
        assert os.read(heard, 100) == b"a line"
    finally:
        os.close(heard)
        os.close(said)


def test_what_is_not_whole_yet_nobody_else_may_read(tmp_path: Path) -> None:
    with whole_file(tmp_path / "november.csv", "w", encoding="utf-8") as written:
        [part] = tmp_path.iterdir()
        assert (Path(written.name), part.stat().st_mode & 0o777) == (part, 0o600)
    assert [file.name for file in tmp_path.iterdir()] == ["november.csv"]


def test_where_a_file_can_not_be_replaced_it_is_written_once_all_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a single file that is mounted into a container."""

    def busy(*_: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    file = tmp_path / "november.csv"
    file.write_text("as it was, and longer")
    with whole_file(file, "w", encoding="utf-8") as written:
        written.write("as it is")
        assert file.read_text() == "as it was, and longer"
    assert (file.read_text(), list(tmp_path.iterdir())) == ("as it is", [file])


@pytest.mark.parametrize(
    "arguments",
    [
        ("liability", "--wallets"),
        ("expire", "--dry-run", "--to-expire"),
        ("notices", "--dry-run", "--to-tell"),
    ],
)
def test_a_server_that_is_away_leaves_the_file_of_last_month_as_it_was(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
) -> None:
    file = tmp_path / "november.csv"
    file.write_text("wallets of November")
    for name, value in (
        ("POSTGRES_DSN", "postgresql://admin@127.0.0.1:1/postgres"),
        ("SECRET", "root of the tests"),
    ):
        monkeypatch.setenv(f"POINTBANK_{name}", value)
    monkeypatch.setattr("sys.argv", ["pointbank", *arguments, str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err[:37]) == (2, "pointbank: PostgreSQL can't be reache")
    assert (file.read_text(), list(tmp_path.iterdir())) == ("wallets of November", [file])


def test_a_folder_that_is_not_there_is_named_by_the_file_that_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "nowhere" / "november.csv"
    monkeypatch.setattr("sys.argv", ["pointbank", "liability", "--wallets", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (
        2,
        f"pointbank: {file}: No such file or directory\n",
    )
