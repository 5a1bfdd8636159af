"""The soak's book-keeping: which seeds are left, what is told of those that ran, and which bounds a fault has crossed."""

from pathlib import Path

import msgspec

from tests.soak.bounds import crossed, rate
from tests.soak.nemesis import FAULTS
from tests.soak.outcome import Felt, Outcome, as_json, latest, read, summary, table
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
        outcome(2, Felt(name="Redis is killed", answered=0.4, booked=5.0, full_rate=2.5)),
        outcome(3, Felt(name="a clock is an hour ahead", skipped="none"), violations=("lost a bill\nmore",)),
    ]
    assert table(runs)[2:] == [
        "| Redis is killed | 2 | 0.3, 0.4 | 3.0, 5.0 | 1.5, 2.5 |  |",
        "| a clock is an hour ahead | 0 (1 skipped) |  |  |  |  |",
    ]
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
    assert crossed("a relay's turn is stolen", booked_s=0.1, took_over_s=10.1) != []
    assert rate([0.5, 1.5, 1.9, 2.1], until=2.0) == 2.0


def test_a_seed_draws_the_same_faults_again() -> None:
    names, dice = drawn(7)
    again, same = drawn(7)
    assert (names, dice.random()) == (again, same.random())
    assert {name for seed in range(200) for name in drawn(seed)[0]} == set(FAULTS)


def test_what_was_slow_once_is_told_and_breaks_nothing() -> None:
    runs = [outcome(1), outcome(2)]
    runs[1].slow_once = ["Redis is emptied: not 40 calls a second again within 30 s"]
    assert summary(runs)[-1] == (
        "- seed 2, not a second time: Redis is emptied: not 40 calls a second again within 30 s"
    )
    assert summary(runs)[0].startswith("2 runs, 0 faults, 0 with violations")
