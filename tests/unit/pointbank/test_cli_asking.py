"""Commands that call the API for a person: what keeps them from an answer is told in one line, soon, and nothing is left behind."""

import time
from pathlib import Path

import msgspec
import pytest

from pointbank.api import Answer
from pointbank.cli import asking, main, reviews
from pointbank.embedded.process import free_port
from pointbank.tokens import dev_keys
from tests.support.stub import Stub

NOBODY = "00000000-0000-7000-8000-000000000000"


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    monkeypatch.setattr("sys.argv", ["pointbank", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    "arguments",
    [
        "token --role support",
        "reviews list",
        "settlement list",
        "holds release",
        "birthdays tell",
    ],
)
def test_a_folder_without_keys_is_named_and_nothing_is_made_in_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: str
) -> None:
    monkeypatch.setattr(asking, "ABSENT_S", 0)
    line = said(capsys, monkeypatch, *arguments.split(), "--state", tmp_path / "wrong")
    other = "" if arguments.startswith("token") else ", or give a token: `--token`, POINTBANK_TOKEN"
    assert line == (
        f"pointbank: {tmp_path}/wrong/keys has no keys to sign a token with; "
        f"name the folder that `pointbank up` uses with `--state`{other}"
    )
    assert list(tmp_path.iterdir()) == []


def test_nobody_who_listens_is_told_within_seconds_with_the_url(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dev_keys(tmp_path / "keys")
    url, began = f"http://127.0.0.1:{free_port()}", time.monotonic()
    line = said(capsys, monkeypatch, "reviews", "list", "--url", url, "--state", tmp_path)
    assert line.startswith(f"pointbank: nothing answers at {url} (ConnectionRefusedError(")
    assert line.endswith("); is it up? `--url`")
    assert time.monotonic() - began < 30  # 5 s, and what a loaded machine adds


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ("settlement check --from 2026-13-01", "--from: 2026-13-01 is no day, which is written YYYY-MM-DD"),
        ("settlement check --to tomorrow", "--to: tomorrow is no day, which is written YYYY-MM-DD"),
        ("statement --day 9000-01-01", "--day: 9000-01-01 has not begun, in no zone"),
        ("settlement list --only foo", "--only: foo is none of open, explained, closed"),
        ("reviews list --only foo", "--only: foo is none of open, released, cancelled"),
        (
            "reviews list --url nowhere",
            "'--url' (env var: 'POINTBANK_URL'): nowhere is no http:// or https:// URL",
        ),
        ("token --role till --hours -1", "'--hours': -1.0 is not in the range x>0"),
        (
            "token --role root",
            "--role: root is none of till, ecommerce, crm, marketer, support, finance, auditor, operator, admin",
        ),
    ],
)
def test_days_choices_and_urls_are_checked_before_anybody_is_asked(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: str,
    wrong: str,
) -> None:
    command = arguments.partition(" --")[0]
    state = () if command == "statement" else ("--state", tmp_path)
    line = said(capsys, monkeypatch, *arguments.split(), *state)
    assert line == f"pointbank: Invalid value for {wrong}; see `pointbank {command} --help`"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("", "--owner says who looks after it, --as what became of it: give one of them"),
        ("--reason counted", "--owner says who looks after it, --as what became of it: give one of them"),
        ("--as closed --owner noor", "--as closed wants a --reason"),
        ("--as explained", "--as explained wants a --reason"),
    ],
)
def test_what_becomes_of_a_variance_is_asked_for_by_the_names_of_options(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: str,
    wanted: str,
) -> None:
    command = "settlement", "resolve", NOBODY
    line = said(capsys, monkeypatch, *command, *options.split(), "--state", tmp_path)
    assert line == f"pointbank: {wanted}; see `pointbank settlement resolve --help`"


def test_a_problem_is_told_by_its_details_its_code_and_the_id_of_the_request() -> None:
    problem = {
        "type": "/problems/field_type", "title": "A field is of another type", "status": 422, "code": "field_type",
        "detail": "The request is refused.", "request_id": "01a2027d-d250-70e3-8c73-0d9c08262b25",
        "errors": [{"pointer": "/from_day", "code": "field_type", "detail": "No day."}],
    }  # fmt: skip
    assert Answer(422, msgspec.json.encode(problem)).said == (
        "The request is refused. /from_day: No day. (field_type) request_id 01a2027d-d250-70e3-8c73-0d9c08262b25"
    )
    assert Answer(502, b"<html>").said == "502 <html>"


NO_REVIEWS = b'{"items": [], "next_cursor": null}'


def test_words_of_an_option_stand_in_the_address_as_they_were_meant(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dev_keys(tmp_path / "keys")
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(NO_REVIEWS) + NO_REVIEWS
    )
    with Stub(answer=answer).running() as stub:
        monkeypatch.setenv("POINTBANK_URL", f"http://{stub.address}")
        words = (
            "--only",
            "closed & open",
            "--pattern",
            "same card&state=é",
            "--json",
            "--state",
            str(tmp_path),
        )
        monkeypatch.setattr(reviews, "STATES", ("closed & open",))
        monkeypatch.setattr("sys.argv", ["pointbank", "reviews", "list", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    assert (ended.value.code, capsys.readouterr().out) == (None, '{"items": []}\n')
    assert [one.line for one in stub.asked] == [
        "GET /v1/reviews?state=closed+%26+open&limit=200&pattern=same+card%26state%3D%C3%A9 HTTP/1.1"
    ]


@pytest.mark.parametrize("option", ["--only", "--state-of"])
def test_a_list_is_narrowed_by_the_word_of_settlement_and_by_the_one_it_had_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str
) -> None:
    line = said(capsys, monkeypatch, "reviews", "list", option, "shut", "--state", tmp_path)
    assert line == (
        "pointbank: Invalid value for --only: shut is none of open, released, cancelled; see `pointbank reviews list --help`"
    )
