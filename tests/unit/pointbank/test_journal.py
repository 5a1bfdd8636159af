import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from pointbank.journal import (
    Answered,
    Journal,
    JournalBroken,
    JournalInUse,
    Offered,
    Opened,
    Read,
    placed,
    read,
)
from pointbank.till.book import BillToOffer, Book
from pointbank.till.wire import answer_in, event_of

AT = datetime(2026, 11, 22, 8, 31, tzinfo=UTC)
SOURCE = "/pos/riyadh-mall/T03"
BILL = BillToOffer(SOURCE, "RM-1", b'{"bill_ref":"RM-1"}', "2026-11-22T08:31:04Z")


def reply(
    status: str | None, *, event: str = "bill.recorded.v1", event_id: str | None = "RM-1", **data: object
) -> bytes:
    fields = {"source": SOURCE if event_id else None, "event_id": event_id, "stream_id": "5-0", **data}
    if status is not None:
        fields |= {"status": status, "bill_id": "b1"}
    return json.dumps({"id": "e1", "type": event, "data": fields, "sequence": "000000000001"}).encode()


def answered(status: str | None, **data: object) -> Answered:
    return answer_in(reply(status, **data))  # type: ignore[arg-type]


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "till" / "journal.jsonl"
    entry = Book().offer(BILL)
    with Journal(path, tenant="demo", cell="main") as journal:
        journal.append([entry, Read(at=AT, stream="riyadh-mall.T03", through="5-0")])
    opened, offered, position = read(path)
    assert isinstance(opened, Opened)
    assert (opened.format, opened.tenant) == (1, "demo")
    assert isinstance(offered, Offered)
    assert isinstance(offered.body, msgspec.Raw)
    assert bytes(offered.body) == BILL.body
    assert position == Read(at=AT, stream="riyadh-mall.T03", through="5-0")


def test_a_half_line_of_a_crash_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, tenant="demo", cell="main") as journal:
        journal.append([Read(at=AT, stream="a", through="5-0")])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"read","at":"2026-11-2' + b"x" * 200_000)
    assert len(list(read(path))) == 2
    with Journal(path, tenant="demo", cell="main"):
        pass
    assert path.read_bytes().startswith(whole)
    assert [type(entry) for entry in read(path)] == [Opened, Read, Opened]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(
        b'{"kind":"read","at":"2026-11-22T08:31:00Z","stream":"a","through":"5-0"}\n{"kind":"rea\n'
    )
    with pytest.raises(JournalBroken, match="line 2"):
        list(read(path))


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, tenant="demo", cell="main"), pytest.raises(JournalInUse):
        Journal(path, tenant="demo", cell="main")


def test_an_offer_stays_unanswered_until_its_reply() -> None:
    book = Book()
    first = book.offer(BILL)
    book.published([(BILL.source, BILL.id)], at=1.0)
    assert list(book.unanswered) == [(SOURCE, "RM-1")]
    assert book.offers[SOURCE, "RM-1"].body == BILL.body
    accrual = {"programme": "shops", "programme_version": 1, "wallet_id": "w1", "tier": "gold"}
    worth = {"available": {"points": 108, "money": {}}, "held": {"points": 2, "money": {}}}
    book.note(answered("earned", accruals=[accrual | worth]))
    assert not book.unanswered
    answer = book.offers[SOURCE, "RM-1"].answer
    assert answer is not None
    assert (answer.points, answer.accruals[0].tier, answer.accruals[0].held) == (110, "gold", 2)
    assert first.attempt == 1
    assert book.offers[SOURCE, "RM-1"].body is None


def test_a_repetition_is_offered_without_its_body_and_changes_no_answer() -> None:
    book = Book()
    book.offer(BILL)
    book.note(answered("earned"))
    again = book.offer(BILL)
    assert (again.attempt, again.body) == (2, msgspec.UNSET)
    assert not book.unanswered
    book.note(answered("earned"))
    assert (book.counts.offered, book.counts.answered, book.counts.answers) == (1, 1, 2)


def test_each_repetition_is_waited_for_and_only_its_own_answer_ends_that() -> None:
    book = Book()
    book.offer(BILL)
    book.offer(BILL)
    book.note(answered("waiting"))
    assert book.unfinished == [(SOURCE, "RM-1")]
    book.note(answered("earned", event="bill.settled.v1"))
    assert book.unfinished == [(SOURCE, "RM-1")]
    assert book.offers[SOURCE, "RM-1"].body == BILL.body
    book.note(answered("earned"))
    assert book.unfinished == []
    assert book.offers[SOURCE, "RM-1"].body is None


def test_a_waiting_bill_is_answered_and_still_waits_to_be_settled() -> None:
    book = Book()
    book.offer(BILL)
    book.note(answered("waiting"))
    assert not book.unanswered
    assert list(book.waiting) == [(SOURCE, "RM-1")]
    book.note(answered("unclaimed", event="bill.settled.v1"))
    assert list(book.waiting) == [(SOURCE, "RM-1")]
    book.note(answered("earned", event="bill.settled.v1"))
    assert not book.waiting
    book.note(answered("waiting"))  # a late copy of the first reply
    assert not book.waiting
    final = book.offers[SOURCE, "RM-1"].answer
    assert final is not None
    assert final.status == "earned"


def test_a_rejection_is_an_answer_with_its_code() -> None:
    book = Book()
    book.offer(BILL)
    book.note(answered(None, event="bill.rejected.v1", code="total_mismatch"))
    final = book.offers[SOURCE, "RM-1"].answer
    assert final is not None
    assert (final.status, final.code, book.counts.rejected) == ("rejected", "total_mismatch", 1)
    assert not book.unanswered


def test_an_entry_that_is_no_bill_is_answered_by_its_place_in_the_stream() -> None:
    book = Book()
    book.note(placed("5-0", b"\xff"))
    assert book.read_through == {"pos": "0-0"}
    book.note(answered(None, event="bill.rejected.v1", event_id=None, code="not_utf8"))
    assert not book.placed


def test_folding_the_file_gives_what_the_till_knew(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, tenant="demo", cell="main") as journal:
        before = Book()
        offered = [before.offer(BILL), before.offer(BILL._replace(id="RM-2"))]
        journal.append(offered)
        answer = answered("waiting")
        journal.append([answer])
        before.note(answer)
    after = Book()
    for entry in read(path):
        after.note(entry)
    assert after.unanswered == before.unanswered == {(SOURCE, "RM-2"): None}
    assert after.waiting == before.waiting
    assert after.offers[SOURCE, "RM-2"].body == BILL.body
    assert after.offer_again((SOURCE, "RM-2")).attempt == 2


def test_the_event_of_a_bill_is_the_same_bytes_each_time() -> None:
    event = event_of(SOURCE, "RM-1", time=BILL.time, body=BILL.body)
    assert json.loads(event) == {
        "specversion": "1.0",
        "id": "RM-1",
        "source": "/pos/riyadh-mall/T03",
        "type": "bill.completed.v1",
        "time": "2026-11-22T08:31:04Z",
        "datacontenttype": "application/json",
        "data": {"bill_ref": "RM-1"},
    }
    assert event_of(SOURCE, "RM-1", time=BILL.time, body=BILL.body) == event
