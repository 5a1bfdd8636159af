"""The soak's book-keeping: which seeds are left, what is told of those that ran, and which bounds a fault has crossed."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from pointbank.journal import Acknowledged, Answered, Called, Offered, Placed, placed
from pointbank.journal import read as read_journal
from tests.soak.bounds import (
    LEAST_CALLS,
    LOST_COMMITS,
    MEETS,
    RESTARTS,
    TAKEN_OVER,
    crossed,
    full_after,
    rate,
)
from tests.soak.memory import Lost, still_promised, to_call_again, to_offer_again
from tests.soak.nemesis import FAULTS
from tests.soak.outcome import Felt, Outcome, as_json, failures, latest, met, read, summary, table
from tests.soak.pace import MINUTES, pace
from tests.soak.runner import left
from tests.soak.seeds import drawn


def outcome(seed: int, *faults: Felt, code: str = "c", violations: tuple[str, ...] = ()) -> Outcome:
    return Outcome(
        seed=seed, code=code, faults=list(faults), violations=list(violations), seconds=9.5, acts={"bill": 10},
        ended="2026-11-26T09:00:00+00:00",
    )  # fmt: skip


def written(path: Path, *outcomes: Outcome) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in outcomes))
    return path


def test_a_run_goes_on_where_it_stopped_and_begins_anew_for_other_code(tmp_path: Path) -> None:
    file = written(
        tmp_path / "runs.jsonl", outcome(1), outcome(2, code="older"), outcome(3, violations=("x",))
    )
    with file.open("ab") as torn:
        torn.write(b'{"seed": 4')
    assert left([1, 2, 3, 4, 5], file, "c") == [2, 4, 5]
    assert left([1, 2], tmp_path / "none.jsonl", "c") == [1, 2]


def test_a_seed_that_ran_again_counts_once_as_it_ended_last(tmp_path: Path) -> None:
    file = written(tmp_path / "runs.jsonl", outcome(1, violations=("lost a bill",)), outcome(1))
    assert [one.violations for one in latest(read(file)).values()] == [[]]


def test_the_table_has_each_fault_with_its_median_and_its_most() -> None:
    runs = [
        outcome(1, Felt(name="Redis is killed", answered=0.2, booked=1.0, full_rate=0.5)),
        outcome(
            2,
            Felt(
                name="Redis is killed",
                answered=0.4,
                booked=5.0,
                redeemed=1.5,
                full_rate=2.5,
                stream_rate=0.1,
                met={"orphans": 2},
            ),
        ),
        outcome(3, Felt(name="a clock is an hour ahead", skipped="none"), violations=("lost a bill\nmore",)),
    ]
    assert table(runs)[2:] == [
        "| Redis is killed | 2 | 0.3, 0.4 | 3.0, 5.0 | 1.5, 2.5 | 0.1, 0.1 |  | 1.5, 1.5 |",
        "| a clock is an hour ahead | 0 (1 skipped) |  |  |  |  |  |  |",
    ]
    assert met(runs) == ["- Redis is killed: 2 orphans"]
    assert summary(runs) == [
        "3 runs, 3 faults, 1 with violations; 9.5 s a run.",
        "Acts: bill 30.",
        "- seed 3: lost a bill",
    ]
    told = msgspec.json.decode(as_json(runs))
    assert (told["runs"], told["failed"], len(told["faults"]["Redis is killed"])) == (3, 1, 2)


def test_bounds_are_those_of_the_fault() -> None:
    assert crossed("a process is killed", booked_s=9.9, took_over_s=None) == []
    assert crossed("a process is killed", booked_s=10.1, took_over_s=None) != []
    assert crossed("PostgreSQL is killed", booked_s=10.1, took_over_s=None) == []
    assert crossed("PostgreSQL is killed", booked_s=90.1, took_over_s=None) != []
    assert crossed(LOST_COMMITS, booked_s=90.1, took_over_s=None) == []
    assert crossed("a relay's turn is stolen", booked_s=0.1, took_over_s=10.1) != []
    assert rate([0.5, 1.5, 1.9, 2.1], until=2.0) == 2.0


def test_bounds_speak_of_faults_that_there_are() -> None:
    assert (MEETS | RESTARTS | TAKEN_OVER) - set(FAULTS) == set()


def test_faults_that_need_meet_nobody_are_those_that_the_document_names() -> None:
    said = (Path(__file__).parents[2] / "docs" / "under-fire.md").read_text()
    _, _, listed = said.partition("These five still ask for nothing:")
    named = {line[2:].partition(":")[0] for line in listed.split("\n\n")[1].splitlines()}
    assert set(FAULTS) - MEETS == named


def calls(since: float, until: float, every_s: float = 0.1) -> list[float]:
    """Answers, one every so many seconds."""
    return [since + k * every_s for k in range(round((until - since) / every_s))]


def test_the_full_rate_is_looked_for_from_the_moment_when_the_fault_was_taken_back() -> None:
    answered = calls(0.0, 10.0) + calls(14.0, 18.0)  # ten a second but for four seconds
    found = full_after(answered, 10.0, since=12.0, until=18.0)
    assert found is not None
    assert 1.7 <= found <= 2.0  # eight of ten are within the second that began shortly before 14.0
    assert full_after(answered, 10.0, since=12.0, until=15.6) is None  # not for two seconds yet
    assert (
        full_after(answered, 10.0, since=7.9, until=18.0) == 0.0
    )  # the fault was over before anybody felt it


@pytest.mark.parametrize(("window_s", "undone_at"), [(1.0, 10.1), (2.0, 10.3)])
def test_answers_from_before_the_fault_was_taken_back_are_no_rate(window_s: float, undone_at: float) -> None:
    dead = calls(0.0, 10.0)
    assert full_after(dead, 10.0, since=undone_at, until=45.0, window_s=window_s) is None
    again = full_after(dead + calls(20.0, 30.0), 10.0, since=undone_at, until=30.0, window_s=window_s)
    assert again is not None
    assert again == pytest.approx(20.0 - undone_at - 0.2 * window_s, abs=0.11)


@pytest.mark.parametrize("window_s", [1.0, 2.0])
def test_what_had_piled_up_and_is_answered_at_once_is_no_rate(window_s: float) -> None:
    burst = calls(11.0, 11.5, 0.001)
    for piled_up in (burst, burst[:100], burst[:10]):
        assert full_after(piled_up, 10.0, since=10.0, until=45.0, window_s=window_s) is None
    found = full_after(burst + calls(20.0, 30.0), 10.0, since=10.0, until=30.0, window_s=window_s)
    assert found is not None
    assert found >= 9.5


def test_a_rate_is_back_only_once_it_holds_for_two_windows() -> None:
    assert full_after(calls(11.0, 12.0), 10.0, since=10.0, until=45.0) is None
    assert full_after(calls(11.0, 13.0), 10.0, since=10.0, until=45.0) is not None


def test_what_was_answered_while_commits_were_lost_is_said_again_and_promised_no_more(tmp_path: Path) -> None:
    def at(second: int) -> datetime:
        return datetime(2026, 11, 26, 9, 0, second, tzinfo=UTC)

    def offered(second: int, name: str) -> Offered:
        raw = msgspec.Raw(b'{"bill_ref":"%s"}' % name.encode())
        return Offered(
            at=at(second), source="/pos/m/t", id=name, sha256="", time="2026-11-26T08:00:00Z", body=raw
        )

    def answered(second: int, name: str | None, entry: str) -> Answered:
        return Answered(
            at=at(second), source="/pos/m/t", id=name, entry=entry, event="bill.recorded.v1", reply=f"r-{entry}",
            status="earned",
        )  # fmt: skip

    def called(second: int, key: str, path: str) -> Called:
        return Called(at=at(second), key=key, method="POST", path=path, body=msgspec.Raw(b"{}"))

    def acknowledged(second: int, key: str, path: str) -> Acknowledged:
        return Acknowledged(
            at=at(second), key=key, method="POST", path=path, http_status=201, answer=msgspec.Raw(b"{}")
        )

    before = [offered(1, "kept"), answered(2, "kept", "1-0"), called(2, "k1", "/v1/bills")]
    lost = [
        offered(3, "gone"), acknowledged(11, "k1", "/v1/bills"), answered(12, "gone", "2-0"),
        called(12, "k2", "/v1/members"), acknowledged(13, "k2", "/v1/members"),
        placed("3-0", b"no bill"), answered(14, None, "3-0"),
    ]  # fmt: skip
    later = [offered(21, "later"), answered(22, "later", "4-0"), called(22, "k3", "/v1/bills")]
    journal = tmp_path / "till.jsonl"
    journal.write_bytes(msgspec.json.Encoder().encode_lines([*before, *lost, *later]))
    gone = Lost(at(10), at(20))
    assert [(one.id, one.body) for one in to_offer_again(journal, gone)] == [("gone", b'{"bill_ref":"gone"}')]
    assert [(one.path, one.key) for one in to_call_again(journal, gone)] == [("/v1/bills", "k1")]
    kept = list(read_journal(still_promised(journal, [gone])))
    assert [one.id for one in kept if isinstance(one, Answered)] == ["kept", "later"]
    assert [one.id for one in kept if isinstance(one, Offered)] == ["kept", "gone", "later"]
    assert [one for one in kept if isinstance(one, Acknowledged | Placed)] == []


def test_a_seed_draws_the_same_faults_again() -> None:
    names, dice = drawn(7)
    again, same = drawn(7)
    assert (names, dice.random()) == (again, same.random())
    assert {name for seed in range(200) for name in drawn(seed)[0]} == set(FAULTS)


def test_tills_never_end_before_a_fault_of_minutes_does() -> None:
    short, long = pace(long=False), pace(long=True)
    assert (short.done(3_999), short.done(4_000)) == (False, True)
    assert long.done(long.per_second * 3_600) is False
    assert long.per_second >= 2 * LEAST_CALLS  # enough for a rate that is held against the one before
    assert set(MINUTES) <= set(FAULTS)


def test_a_fault_that_was_asked_for_and_met_nobody_is_no_success() -> None:
    runs = [outcome(1, Felt(name="an idle transaction", missed="nobody met it"))]
    assert failures(runs, asked=True) == ["seed 1: an idle transaction came to nothing: nobody met it"]
    assert failures(runs, asked=False) == []
    assert failures([outcome(2, violations=("lost a bill\nmore",))], asked=False) == ["seed 2: lost a bill"]


def test_what_was_slow_once_is_told_and_breaks_nothing() -> None:
    runs = [outcome(1), outcome(2)]
    runs[1].slow_once = ["Redis is emptied: not 40 calls a second again within 30 s"]
    assert summary(runs)[-1] == (
        "- seed 2, not a second time: Redis is emptied: not 40 calls a second again within 30 s"
    )
    assert summary(runs)[0].startswith("2 runs, 0 faults, 0 with violations")
