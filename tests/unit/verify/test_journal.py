"""The tills' journal, followed while it grows."""

import json
from pathlib import Path
from typing import Any

import pytest

from pointbank.verify.till.journal import Journal, JournalUnreadable, Tail, Unanswered
from pointbank.verify.till.sent import quantity

OFFERED = {
    "kind": "offered",
    "source": "/pos/shop/T1",
    "id": "1",
    "sha256": "x",
    "time": "2026-11-22T08:31:04Z",
}
ANSWERED = {"kind": "answered", "source": "/pos/shop/T1", "id": "1", "status": "earned"}
CALLED = {"kind": "called", "key": "k", "method": "POST", "path": "/v1/bills"}
ACKNOWLEDGED = {"kind": "acknowledged", "key": "k", "method": "POST", "path": "/v1/bills", "http_status": 201}


def write(path: Path, *entries: dict[str, Any], torn: str = "") -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)
        file.write(torn)


def test_a_bill_is_left_until_it_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "till.jsonl"
    write(path, OFFERED, CALLED)
    unanswered = Unanswered(path)
    assert unanswered.left() == {"offered bills without an answer": 2}
    write(path, ANSWERED)
    assert unanswered.left() == {"offered bills without an answer": 1}
    write(path, ACKNOWLEDGED | {"http_status": 503})  # no answer: the till asks again
    assert unanswered.left() == {"offered bills without an answer": 1}
    write(path, ACKNOWLEDGED)
    assert unanswered.left() == {}
    assert unanswered.offered == 2


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "till.jsonl"
    whole = json.dumps(ANSWERED)
    write(path, OFFERED, torn=whole[:20])
    tail = Tail(path)
    assert [entry["kind"] for entry in tail.lines()] == ["offered"]
    write(path, torn=whole[20:] + "\n")
    assert [entry["kind"] for entry in tail.lines()] == ["answered"]


def test_a_line_that_is_no_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "till.jsonl"
    write(path, OFFERED, torn="not json\n")
    with pytest.raises(JournalUnreadable, match="line 2"):
        list(Tail(path).lines())


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("2", "2"), ("02.50", "2.5"), ("1.000", "1"), ("100", "100"), ("0.0", "0"), (None, None)],
)
def test_a_quantity_is_kept_in_its_shortest_form(sent: str | None, kept: str | None) -> None:
    assert quantity(sent) == kept


def test_what_is_written_after_a_moment_is_not_of_that_moment(tmp_path: Path) -> None:
    path = tmp_path / "till.jsonl"
    write(path, OFFERED)
    journal = Journal.now(path)
    write(path, ANSWERED)
    assert [entry["kind"] for entry in journal.lines()] == ["offered"]
