import io
import json
from datetime import UTC, datetime

import msgspec
from rich.console import Console

from pointbank.demo.arithmetic import Expected, expected_of, unanswered_calls
from pointbank.demo.table import Invariant, Moment, show_figures, show_invariants
from pointbank.figures import Figures
from pointbank.generate.sample import programme
from pointbank.journal import Acknowledged, Answered, AnyEntry, Called, JournalAccrual, Offered

AT = datetime(2026, 11, 22, 8, 31, tzinfo=UTC)
SOURCE = "/pos/riyadh-mall/T03"


def offered(event_id: str, amount_minor: int, *, member: bool = True) -> Offered:
    line = {"categories": ["food"], "amount_minor": amount_minor, "discount_minor": 0}
    body = {"total_minor": amount_minor, "lines": [line]} | (
        {"member": {"email": "a@example.com"}} if member else {}
    )
    raw = msgspec.Raw(json.dumps(body).encode())
    return Offered(at=AT, source=SOURCE, id=event_id, sha256="", time="", body=raw)


def answered(event_id: str, status: str, *, points: int = 0, tier: str | None = None) -> Answered:
    accrual = JournalAccrual(
        programme="shops", programme_version=1, wallet_id="w1", tier=tier, points=points, held=0
    )
    return Answered(
        at=AT, source=SOURCE, id=event_id, entry="1-0", event="bill.recorded.v1", reply="e", status=status,
        accruals=(accrual,) if status in {"earned", "nothing"} else (),
    )  # fmt: skip


def test_each_bill_is_worked_out_with_the_tier_that_its_answer_names() -> None:
    expected = expected_of(
        [
            offered("1", 9000), answered("1", "earned", points=108, tier="gold"),
            offered("2", 9000), answered("2", "waiting"), answered("2", "earned", points=90),
            offered("3", 9000, member=False), answered("3", "anonymous"),
            offered("1", 9000), answered("1", "earned", points=108, tier="gold"),
        ],
        programme("shops"),
    )  # fmt: skip
    assert (expected.bills, expected.points, expected.wrong) == (3, 198, [])
    assert expected.by_wallet == {"w1": 198}


def test_an_answer_that_differs_is_named() -> None:
    entries: list[AnyEntry] = [
        offered("1", 9000),
        answered("1", "earned", points=91),
        offered("2", 100),
        answered("2", "waiting"),
    ]
    expected = expected_of(entries, programme("shops"))
    assert expected.wrong == ["1: 91 available, 0 held, not 90", "2: waiting"]


def test_redemptions_and_enrolments_count_as_acknowledged() -> None:
    def acknowledged(path: str, answer: object, http_status: int = 201) -> Acknowledged:
        raw = msgspec.Raw(json.dumps(answer).encode())
        return Acknowledged(at=AT, key="k", method="POST", path=path, http_status=http_status, answer=raw)

    expected = expected_of(
        [
            acknowledged("/v1/members", {"member_id": "m1"}),
            acknowledged("/v1/members", {"member_id": "m1"}),
            acknowledged("/v1/redemptions", {"redeemed": {"points": 300}}),
            acknowledged("/v1/redemptions", {"code": "insufficient_points"}, 409),
        ],
        programme("shops"),
    )
    assert (expected.members, expected.redeemed) == ({"m1"}, 300)


def kept(*, earned: int, redeemed: int = 0) -> Figures:
    buckets = {
        "earned": earned,
        "available": earned - redeemed,
        "held": 0,
        "reserved": 0,
        "redeemed": redeemed,
    }
    return Figures(
        bills=earned // 10, anonymous=0, members_with_bills=1, members=0, waiting=0, buckets=buckets,
        tiers={"blue": 1}, messages={"delivered": 1},
    )  # fmt: skip


def test_the_table_tells_whether_the_ledger_is_what_was_expected() -> None:
    before = Moment(Expected(bills=10, points=100), kept(earned=100))
    after = Moment(Expected(bills=20, points=200, redeemed=30), kept(earned=200, redeemed=30))
    console = Console(record=True, width=120, file=io.StringIO())
    assert show_figures(console, before=before, after=after, bills=10, seconds=2)
    text = console.export_text()
    assert "points redeemed" in text
    assert "200" in text
    wrong = Moment(Expected(bills=20, points=201, redeemed=30), kept(earned=200, redeemed=30))
    assert not show_figures(console, before=before, after=wrong, bills=10, seconds=2)


def test_what_was_done_beside_the_journal_before_is_shown_and_not_judged() -> None:
    before = Moment(Expected(bills=10, points=100), kept(earned=110, redeemed=10))
    after = Moment(Expected(bills=20, points=200, redeemed=30), kept(earned=210, redeemed=40))
    console = Console(record=True, width=120, file=io.StringIO())
    assert show_figures(console, before=before, after=after, bills=10, seconds=2)
    assert (
        "Beside this journal the books had, before this run: bills +1, points earned +10, points redeemed +10"
        in console.export_text()
    )


def test_what_was_lost_in_a_run_is_no_less_wrong_where_something_was_done_by_hand_before() -> None:
    before = Moment(Expected(bills=10, points=100), kept(earned=110))
    after = Moment(Expected(bills=20, points=200), kept(earned=200))
    assert not show_figures(Console(quiet=True), before=before, after=after, bills=10, seconds=2)


def test_calls_that_were_never_answered_are_asked_again_once() -> None:
    def called(key: str) -> Called:
        return Called(at=AT, key=key, method="POST", path="/v1/redemptions")

    answer = Acknowledged(
        at=AT, key="1", method="POST", path="/v1/redemptions", http_status=409, answer=msgspec.Raw(b"{}")
    )
    left = unanswered_calls([called("1"), called("2"), answer, called("2"), called("3")])
    assert [call.key for call in left] == ["2", "3"]


def test_one_broken_invariant_breaks_the_whole() -> None:
    console = Console(quiet=True)
    holds, elsewhere = (
        Invariant(1, "a", "holds", "0 of 5"),
        Invariant(10, "b", "elsewhere", "see tests/faults"),
    )
    assert show_invariants(console, [holds, elsewhere])
    assert not show_invariants(console, [holds, Invariant(2, "c", "broken", "1 of 5"), elsewhere])
    assert not show_invariants(
        console, [holds, Invariant(2, "c", "not checked", "nothing to compare"), elsewhere]
    )
