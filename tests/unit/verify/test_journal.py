"""The tills' journal, followed while it grows."""

import json
from pathlib import Path
from typing import Any

import pytest

from pointbank.verify.till.journal import Journal, JournalUnreadable, Tail, Unanswered
from pointbank.verify.till.sent import quantity

OPENED = {"kind": "opened", "format": 1, "tenant": "demo", "cell": "main"}
OFFERED = {
    "kind": "offered",
    "source": "/pos/shop/T1",
    "id": "1",
    "sha256": "x",
    "time": "2026-11-22T08:31:04Z",
}
ANSWERED = {
    "kind": "answered",
    "source": "/pos/shop/T1",
    "id": "1",
    "event": "bill.recorded.v1",
    "reply": "r",
    "status": "earned",
}
CALLED = {"kind": "called", "key": "k", "method": "POST", "path": "/v1/bills"}
ACKNOWLEDGED = {
    "kind": "acknowledged",
    "key": "k",
    "method": "POST",
    "path": "/v1/bills",
    "http_status": 201,
    "answer": {},
}


def write(path: Path, *entries: dict[str, Any], torn: str = "") -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)
        file.write(torn)


def test_a_bill_is_left_until_it_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "till.jsonl"
    write(path, OPENED, OFFERED, CALLED)
    unanswered = Unanswered(path, "demo")
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
    write(path, OPENED, OFFERED, torn=whole[:20])
    tail = Tail(path, "demo")
    assert [entry["kind"] for entry in tail.lines()] == ["opened", "offered"]
    write(path, torn=whole[20:] + "\n")
    assert [entry["kind"] for entry in tail.lines()] == ["answered"]


def test_a_line_that_is_no_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "till.jsonl"
    write(path, OPENED, torn="not json\n")
    with pytest.raises(JournalUnreadable, match="line 2"):
        list(Tail(path, "demo").lines())


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        pytest.param(
            [{"member": {"external_id": "crm-000001"}}],
            "line 1: no journal begins so, but with `opened` (docs/journal.md); name the file that a till wrote",
            id="bills for a till",
        ),
        pytest.param(
            [ANSWERED],
            "line 1: no journal begins so, but with `opened` (docs/journal.md); name the file that a till wrote",
            id="a journal without its beginning",
        ),
        pytest.param(
            [OPENED, OFFERED, OPENED | {"tenant": "acme"}],
            "line 3: a till of tenant acme wrote this; name demo's journal, or say `--tenant acme`",
            id="another tenant's",
        ),
        pytest.param(
            [OPENED | {"format": 99}],
            "line 1: the journal's format is 99, and 1 is read here; use the release that wrote it",
            id="another format",
        ),
        pytest.param(
            [OPENED, {"at": "2026-11-22T08:31:00Z"}],
            "line 2: an entry has a `kind` (docs/journal.md)",
            id="an entry without a kind",
        ),
        pytest.param(
            [OPENED, {"kind": "wondered"}],
            "line 2: no kind of entry is 'wondered' (docs/journal.md)",
            id="an entry of a kind that is none",
        ),
        pytest.param(
            [OPENED, {"kind": "acknowledged", "key": "k", "path": "/v1/bills"}],
            "line 2: an entry of kind acknowledged has `answer` and `http_status` (docs/journal.md)",
            id="an entry without what its kind has",
        ),
        pytest.param(
            [{"kind": "opened"}],
            "line 1: an entry of kind opened has `format` and `tenant` (docs/journal.md)",
            id="a beginning that says nothing",
        ),
    ],
)
def test_a_file_that_is_not_this_tenants_journal_is_told_with_its_line(
    tmp_path: Path, entries: list[dict[str, Any]], said: str
) -> None:
    path = tmp_path / "till.jsonl"
    write(path, *entries)
    with pytest.raises(JournalUnreadable) as told:
        list(Journal.now(path, "demo").lines())
    assert str(told.value) == f"{path}, {said}"


def test_a_kind_that_verify_does_not_look_at_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "till.jsonl"
    skipped = {"kind": "skipped", "source": "/pos/shop/T1", "id": "2", "reason": "cancelled"}
    write(path, OPENED | {"read": "later"}, {"kind": "read", "stream": "a", "through": "5-0"}, skipped)
    assert [entry["kind"] for entry in Tail(path, "demo").lines()] == ["opened", "read", "skipped"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("2", "2"), ("02.50", "2.5"), ("1.000", "1"), ("100", "100"), ("0.0", "0"), (None, None)],
)
def test_a_quantity_is_kept_in_its_shortest_form(sent: str | None, kept: str | None) -> None:
    assert quantity(sent) == kept


def test_what_is_written_after_a_moment_is_not_of_that_moment(tmp_path: Path) -> None:
    path = tmp_path / "till.jsonl"
    write(path, OPENED, OFFERED)
    journal = Journal.now(path, "demo")
    write(path, ANSWERED)
    assert [entry["kind"] for entry in journal.lines()] == ["opened", "offered"]
