"""Two sides that must be the same rows: what a matching says when they are, and when they are not."""

from pointbank.verify.matching import Matching, Row
from pointbank.verify.report import Check


def matched(ours: list[Row], theirs: list[Row]) -> Check:
    check = Check("pairs", 5, "")
    matching = Matching(check, ("points", "name"), ours="the table", theirs="the events")

    def walk() -> None:
        for row in ours:
            matching.ours(row)
        for row in theirs:
            matching.theirs(row)

    walk()
    if not matching.close():
        walk()
        matching.explain()
    return check


ROWS: list[Row] = [(f"id-{k}", k, "x") for k in range(1000)]


def test_the_same_rows_in_any_order_match() -> None:
    check = matched(ROWS, ROWS[::-1])
    assert (check.verdict, check.compared) == ("holds", 1000)


def test_nothing_on_both_sides_is_not_checked() -> None:
    assert matched([], []).verdict == "not checked"


def test_a_row_that_is_missing_is_named() -> None:
    assert matched(ROWS, ROWS[1:]).examples == ["id-0: in the table, not in the events"]
    assert matched(ROWS[1:], ROWS).examples == ["id-0: in the events, not in the table"]


def test_a_row_that_is_there_twice_is_named() -> None:
    assert matched(ROWS, [*ROWS, ROWS[7]]).examples == ["id-7: in the events, not in the table"]


def test_a_row_that_differs_says_in_what() -> None:
    other = [*ROWS[1:], ("id-0", 1, "x")]
    assert matched(ROWS, other).examples == ["id-0: points is 0 in the table, 1 in the events"]


def test_when_everything_differs_only_a_part_is_listed() -> None:
    many: list[Row] = [(f"id-{k}", k, "x") for k in range(100_000)]
    check = matched(many, [])
    assert 0 < check.broken < 10_000
    assert len(check.examples) == 5
    [(note, parts)] = check.notes.items()
    assert note == "of 4,096 parts differ; 64 of them are looked into"
    assert parts == 4096
