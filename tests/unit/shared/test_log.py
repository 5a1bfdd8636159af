"""Log lines: one JSON object each, with what is bound, without what must not be kept."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from shared import log
from shared.log import LEFT_OUT, leave_out


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:], root.level = handlers, level
    structlog.configure(**before)


def lines(captured: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = captured.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_a_line_is_one_json_object_on_stderr_with_what_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    with bound_contextvars(request_id="r-1", service="earn", tenant="acme"):
        structlog.get_logger().info("bill_recorded", bill_ref="A-1", text="two\nlines")
    [line] = lines(capsys)
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "bill_recorded",
        "level": "info",
        "bill_ref": "A-1",
        "text": "two\nlines",
        "request_id": "r-1",
        "service": "earn",
        "tenant": "acme",
    }


def test_the_line_of_a_call_is_the_one_that_any_logger_writes(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    logger = structlog.get_logger("short")
    said = {"route": "/v1/x", "status": 201, "ms": 1.5, "subject": "Bearer eyJhbGciOiJI.e30.x", "token": "t"}
    logger.info("http", **said)
    log.info(logger, "http", dict(said))
    first, second = lines(capsys)
    assert (first.pop("at") <= second.pop("at"), second["subject"], second["token"]) == (
        True,
        f"Bearer {LEFT_OUT}",
        LEFT_OUT,
    )
    assert first == second


async def test_lines_of_a_turn_go_together_and_a_warning_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    first, second = structlog.get_logger("first"), structlog.get_logger("second")
    first.info("one")
    second.info("two")
    assert lines(capsys) == []
    await asyncio.sleep(0)
    assert [line["event"] for line in lines(capsys)] == ["one", "two"]
    second.info("three")
    first.warning("four")
    assert [line["event"] for line in lines(capsys)] == ["three", "four"]
    first.info("five")
    logging.getLogger("asyncio").warning("six")
    assert [line["event"] for line in lines(capsys)] == ["five", "six"]


def test_the_standard_librarys_lines_look_alike(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    logging.getLogger("uvicorn.error").warning("took %s s", 3)
    [line] = lines(capsys)
    assert (line["event"], line["level"]) == ("took 3 s", "warning")


def test_to_configure_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    log.configure("json")
    logging.getLogger("asyncio").warning("slow")
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize(
    "name",
    ["token", "authorization", "password", "secret", "dsn", "mobile", "email", "card_number", "identities"],
)
def test_secrets_and_identities_are_left_out_by_their_names(name: str) -> None:
    assert leave_out(None, "info", {"event": "x", name: "value"}) == {"event": "x", name: LEFT_OUT}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("postgresql://app:hunter2@db:5432/x refused", f"postgresql://{LEFT_OUT}@db:5432/x refused"),
        ("redis://:hunter2@r/0", f"redis://{LEFT_OUT}@r/0"),
        ("Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", f"Bearer {LEFT_OUT}"),
        ("duplicate key\nDETAIL:  Key (hash)=(ab) already exists.", f"duplicate key\nDETAIL:{LEFT_OUT}"),
        ("http://db:5432/x refused", "http://db:5432/x refused"),
    ],
)
def test_secrets_inside_texts_are_left_out(text: str, written: str) -> None:
    assert leave_out(None, "info", {"event": text}) == {"event": written}


def test_a_traceback_shows_no_values_of_its_frames(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    local_secret = "6270158304941178"
    try:
        raise ValueError("wrong")
    except ValueError:
        structlog.get_logger().exception("failed")
    [line] = lines(capsys)
    assert "ValueError: wrong" in line["exception"]
    assert local_secret not in json.dumps(line)
