"""The command line: what is expected to go wrong ends in one line that says what to do, and exit code 2."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis
import typer.main
from typer.testing import CliRunner

from pointbank.cli import main, streams
from pointbank.cli.app import app
from pointbank.cli.failures import expected
from pointbank.operating.streams import Orphan
from shared.config import Settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*Settings.model_fields, "state", "tenant", "token", "url"):
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
            (
                "pointbank: set POINTBANK_POSTGRES_DSN to a DSN of a database administrator; "
                "beside a running `pointbank up`: `. var/pointbank.env`"
            ),
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


def test_verify_that_could_not_check_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTBANK_POSTGRES_DSN", "postgresql://admin@127.0.0.1:1/postgres")
    monkeypatch.setenv("POINTBANK_SECRET", "root of the tests")
    for more in ((), ("--chain",)):
        line = said(capsys, monkeypatch, "verify", *more)
        assert line.startswith("pointbank: could not check demo: PostgreSQL can't be reached: ")
        assert line.endswith(" Is POINTBANK_POSTGRES_DSN (or _HOST, _PORT) right?")


def test_a_bug_keeps_its_traceback_and_is_not_told_as_something_that_was_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(**_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("pointbank.generate.json_lines", broken)
    monkeypatch.setattr("sys.argv", ["pointbank", "generate", "--out", str(tmp_path / "bills.jsonl")])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err.splitlines()
    assert (ended.value.code, told[0], told[-1]) == (
        2,
        "Traceback (most recent call last):",
        "KeyError: 'a bug'",
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            socket.gaierror(-2, "Name or service not known"),
            (
                "PostgreSQL can't be reached: [Errno -2] Name or service not known. "
                "Is POINTBANK_POSTGRES_DSN (or _HOST, _PORT) right?"
            ),
        ),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 5432, 0, 0)"),
            (
                "PostgreSQL can't be reached: Multiple exceptions: [Errno 111] Connect call failed ('::1', 5432, 0, 0). "
                "Is POINTBANK_POSTGRES_DSN (or _HOST, _PORT) right?"
            ),
        ),
        (
            OSError(113, "No route to host"),
            "PostgreSQL can't be reached: [Errno 113] No route to host. Is POINTBANK_POSTGRES_DSN (or _HOST, _PORT) right?",
        ),
        (
            TimeoutError(),
            "PostgreSQL can't be reached: no answer in time. Is POINTBANK_POSTGRES_DSN (or _HOST, _PORT) right?",
        ),
        (
            asyncpg.CannotConnectNowError("the database system is starting up"),
            "PostgreSQL: the database system is starting up. It passes: give the command again",
        ),
        (
            asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
            "PostgreSQL: connection was closed in the middle of operation. It passes: give the command again",
        ),
        (
            asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
            (
                "PostgreSQL: canceling statement due to statement timeout. "
                "Give the command again when it has less to do"
            ),
        ),
        (
            asyncpg.UndefinedColumnError('column "settled_at" does not exist'),
            (
                'the tables are not those of this release: column "settled_at" does not exist. '
                "`pointbank migrate`, then give the command again"
            ),
        ),
        (
            asyncpg.InvalidPasswordError('password authentication failed for user "postgres"'),
            (
                'PostgreSQL refuses the login: password authentication failed for user "postgres". '
                "Is the login of POINTBANK_POSTGRES_DSN right?"
            ),
        ),
        (
            asyncpg.InvalidPasswordError('password authentication failed for user "pb_control_earn"'),
            (
                'PostgreSQL refuses the login: password authentication failed for user "pb_control_earn". '
                "Is POINTBANK_SECRET the one the tenant was made with?"
            ),
        ),
        (
            redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
            (
                "Redis: command not allowed when used memory > 'maxmemory'. "
                "Look at it, then give the command again"
            ),
        ),
        (
            OSError(28, "No space left on device"),
            "what was to be written could not be: No space left on device",
        ),
    ],
)
def test_a_server_that_is_away_or_can_not_is_no_bug(error: Exception, line: str) -> None:
    assert expected(error) == line


def test_what_blames_nobody_but_us_stays_a_bug() -> None:
    assert expected(asyncpg.PostgresSyntaxError("syntax error at or near")) is None
    assert expected(asyncpg.UniqueViolationError("duplicate key")) is None
    assert expected(OSError(9, "Bad file descriptor")) is None


def in_a_process(code: str) -> str:
    """What a new interpreter prints: nothing that other tests imported is there."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    ).stdout


HEAVY = {"asyncpg", "fastapi", "pydantic", "redis", "rich.table", "shared.config", "structlog", "uvicorn"}


def test_importing_it_imports_nothing_of_ours_or_others() -> None:
    loaded = set(
        in_a_process("import sys, pointbank.cli; print(*sys.modules, sep='\\n')").splitlines()
    ) - set(in_a_process("import sys; print(*sys.modules, sep='\\n')").splitlines())
    assert loaded == {"pointbank", "pointbank.cli"}


def test_help_is_quick_because_commands_import_what_they_need_when_they_run() -> None:
    told = in_a_process(
        "import sys; from pointbank.cli import main\nsys.argv = ['pointbank', '--help']\n"
        "try:\n    main()\nfinally:\n    print('loaded:', *sys.modules)"
    )
    help_, _, loaded = told.partition("loaded:")
    assert HEAVY.isdisjoint(loaded.split())
    assert "Start with `pointbank up`, or see it" in help_
    assert sections(help_) == {
        "See it work": ["demo", "up", "generate", "replay"],
        "Run it": ["serve", "gateway", "migrate", "token", "openapi", "tenant"],
        "Prove it, and report": ["verify", "reconcile", "liability", "statement", "seal", "settlement"],
        "Programmes, members, rewards": [
            "open-balances", "programme", "segments", "birthdays", "reviews", "holds", "stock",
        ],
        "Jobs, which the services do by themselves too": [
            "expire", "notices", "expire-gift-cards", "benefits", "release-reservations", "partitions",
        ],
        "When something was put aside, or lost": ["dead-letters", "stream"],
    }  # fmt: skip


def sections(help_: str) -> dict[str, list[str]]:
    """The commands that help lists, under their headings; a line that goes on is indented further."""
    listed: dict[str, list[str]] = {}
    for line in help_.partition("Options:")[2].partition("`pointbank COMMAND")[0].splitlines():
        if line.endswith(":") and not line.startswith(" "):
            listed[line.removesuffix(":")] = []
        elif line.startswith("  ") and line[2:3].islower() and listed:
            listed[list(listed)[-1]].append(line.split()[0])
    return listed


def test_help_tells_each_command_in_a_whole_sentence() -> None:
    groups = {
        path: command
        for path, command in every_command(typer.main.get_command(app), "pointbank")
        if getattr(command, "commands", None)
    }
    assert len(groups) == 12
    for path, group in groups.items():
        told = CliRunner().invoke(app, [*path.split()[1:], "--help"]).output
        assert "..." not in told.partition("Options:")[2], path
        for name, command in group.commands.items():
            first = " ".join((command.help or "").split()).partition(". ")[0].rstrip(".")
            assert f"{name} {first}." in " ".join(told.split()), (path, name)


def every_command(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from every_command(child, *path, name)


def test_each_command_says_what_it_does_and_what_its_options_mean() -> None:
    commands = dict(every_command(typer.main.get_command(app), "pointbank"))
    assert len(commands) >= 28
    assert sum(len(command.params) for command in commands.values()) > 40
    for path, command in commands.items():
        assert command.help, path
        assert command.help.rstrip()[-1] in ".`", path
        options = [one for one in command.params if one.param_type_name == "option"]
        silent = [one.name for one in options if not (one.help or one.hidden)]
        assert silent == [], path


WITHOUT_JSON = {
    "demo": "a show",
    "up": "runs until it is stopped",
    "serve": "runs until it is stopped",
    "openapi": "prints a JSON document",
    "gateway": "prints the names of files",
    "token": "prints one word",
    "generate": "prints JSON lines",
    "tenant till-url": "prints one word",
    "tenant auditor-url": "prints one word",
    "seal public-key": "prints one word",
}
"""Commands that answer no machine otherwise than a person."""


def test_what_answers_with_data_takes_json() -> None:
    commands = dict(every_command(typer.main.get_command(app), "pointbank"))
    without = {
        path.removeprefix("pointbank ")
        for path, command in commands.items()
        if not getattr(command, "commands", None)
        and not any("--json" in param.opts for param in command.params)
    }
    assert without == set(WITHOUT_JSON)


def test_more_members_than_there_are_numbers_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = said(capsys, monkeypatch, "generate", "--members", "100000000", "--bills", "1")
    assert line == (
        "pointbank: --members 100000000 is more than there are mobile numbers: ask for 70,000,000 at most; "
        "see `pointbank generate --help`"
    )


def test_a_file_that_stands_in_the_way_is_named_in_one_line() -> None:
    error = NotADirectoryError(20, "Not a directory", "/seals/acme")
    assert expected(error) == "/seals/acme: Not a directory"
    assert expected(ValueError("ours")) is None


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            "up --port 99999",
            "pointbank: Invalid value for '--port': Input should be less than or equal to 65535; see `pointbank up --help`",
        ),
        ("verfy", "pointbank: No such command 'verfy'. Did you mean 'verify'?"),
        (
            "generate --bills -5",
            "pointbank: Invalid value for '--bills': Input should be greater than or equal to 0; see `pointbank generate --help`",
        ),
        (
            "generate --members 0",
            "pointbank: Invalid value for '--members': Input should be greater than or equal to 1; see `pointbank generate --help`",
        ),
    ],
)
def test_a_word_or_number_that_is_none_is_named_in_the_same_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: str, line: str
) -> None:
    assert said(capsys, monkeypatch, *arguments.split()) == line


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        (
            {"POINTBANK_POSTGRES_DSN": "garbage"},
            "pointbank: POINTBANK_POSTGRES_DSN: it begins with postgresql:// or postgres://",
        ),
        (
            {"POINTBANK_POSTGRES_DSN": "postgresql://host:port/"},
            "pointbank: POINTBANK_POSTGRES_DSN: its port is no number from 0 to 65535",
        ),
        (
            {"POINTBANK_REDIS_URL": "127.0.0.1:6379"},
            "pointbank: POINTBANK_REDIS_URL: it begins with redis:// or rediss:// or unix://",
        ),
    ],
)
def test_a_url_that_is_none_is_named_by_its_setting(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    line: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert said(capsys, monkeypatch, "tenant", "list") == line


def test_up_says_that_its_port_is_in_use_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as another:
        port = another.getsockname()[1]
        line = said(capsys, monkeypatch, "up", "--port", str(port), "--state", str(tmp_path / "var"))
    other = f"use `make up PORT={port + 1}` or `pointbank up --port {port + 1}`"
    assert line == f"pointbank: port {port} is in use; stop what has it, or {other}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_serve_says_that_its_port_is_in_use_before_it_asks_for_servers(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    family: socket.AddressFamily,
) -> None:
    monkeypatch.setenv("POINTBANK_SECRET", "root of the tests")
    with socket.create_server((host, 0), family=family) as another:
        port = another.getsockname()[1]
        line = said(capsys, monkeypatch, "serve", "all", "--host", host, "--port", str(port))
    assert line == f"pointbank: port {port} is in use; stop what has it, or use `--port`"


@pytest.mark.parametrize(
    ("environment", "host", "line"),
    [
        (
            {"POINTBANK_SECRET": "root of the tests"},
            "192.0.2.1",
            "port 8080 of 192.0.2.1 can't be listened on (Cannot assign requested address); use another",
        ),
        (
            {},
            "127.0.0.1",
            (
                "set POINTBANK_SERVICE_SECRET (or POINTBANK_SECRET for the all-in-one process); "
                "beside a running `pointbank up`: `. var/pointbank.env`"
            ),
        ),
        (
            {"POINTBANK_SERVICE_SECRET": "earn's"},
            "127.0.0.1",
            "set POINTBANK_IDENTITY_SECRET; beside a running `pointbank up`: `. var/pointbank.env`",
        ),
    ],
)
def test_serve_says_what_it_lacks_before_it_starts(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    host: str,
    line: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert said(capsys, monkeypatch, "serve", "earn", "--host", host) == f"pointbank: {line}"


def test_who_has_what_a_running_up_gives_is_not_sent_there_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("seal", "adopt", "--tenant", "acme", "--dry-run")
    monkeypatch.setenv("POINTBANK_SECRET", "root of the tests")
    lacks = "pointbank: set POINTBANK_SEAL_FOLDER to the folder that redeem exports seals to"
    assert (
        said(capsys, monkeypatch, *asked)
        == f"{lacks}; beside a running `pointbank up`: `. var/pointbank.env`"
    )
    monkeypatch.setenv("POINTBANK_POSTGRES_DSN", "postgresql://postgres:secret@127.0.0.1:1/postgres")
    assert said(capsys, monkeypatch, *asked) == lacks


def test_an_orphan_that_the_stream_has_no_more_is_told_so() -> None:
    orphans = [
        Orphan(5, None),
        Orphan(6, b"{}", "01a20261", "bill.recorded.v1", "01a20262", ("redeem",)),
    ]
    lines: list[str] = []
    streams.show(orphans, lines.append)
    assert lines == [
        "  1 bill.recorded.v1, heard by redeem",
        "  1 no longer in the stream, heard by nobody",
        "  5: no longer in the stream",
        "  6: bill.recorded.v1 01a20261 about 01a20262",
    ]


def test_a_group_without_a_command_tells_what_there_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["pointbank", "tenant"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.startswith("Usage: pointbank tenant [OPTIONS] COMMAND [ARGS]...")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pointbank", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pointbank {version('pointbank')}\n"


SAYS_A_NAME = """
import sys
from pointbank.cli import main, say
from pointbank.cli.app import app
def demo():
    say.print_json({"name": "نور 🌙"})
    say.out.print("نور 🌙")
app.registered_commands[0].callback = demo
sys.argv = ["pointbank", "demo"]
main()
"""


@pytest.mark.parametrize(
    ("encoding", "lines"),
    [
        ("utf-8", ['{"name": "نور 🌙"}', "نور 🌙"]),
        ("latin-1", [r'{"name": "\u0646\u0648\u0631 \ud83c\udf19"}', r"\u0646\u0648\u0631 \U0001f319"]),
    ],
)
def test_a_name_is_told_where_there_are_no_such_letters(encoding: str, lines: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAYS_A_NAME],
        capture_output=True, check=True, timeout=60, cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.stdout.decode(encoding).splitlines() == lines
