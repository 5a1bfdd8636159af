"""One tree for whatever asks for something to hold."""

from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pointbank.verify.programme.conditions import Asked, OnLadder, holds
from pointbank.verify.programme.terms import Line as TheirLine
from services.earn.domain.bill import Line
from shared.programme.conditions import Kind, compile_condition, contradiction, mistakes
from shared.programme.ladder import LADDER_FIELDS, Climber
from shared.programme.subject import FIELDS, NOT_YET, Activity, Subject

PAGE = Path(__file__).parents[3] / "docs" / "programme.md"
LINES = (
    Line("1", 9000, "ARB-250", ("coffee", "hot"), "2.5", 1000, 1174),
    Line("2", 1500, None, ("service-fee",), None, 0, 196),
)
RIYADH = ZoneInfo("Asia/Riyadh")
AT = datetime(2026, 11, 22, 21, 30, tzinfo=UTC)  # half past midnight on Monday the 23rd in Riyadh


def subject() -> Subject:
    return Subject(
        occurred_at=AT,
        zone=RIYADH,
        total_minor=10500,
        lines=LINES,
        merchant="riyadh-mall",
        channel="store",
        tenders={"card": 8000, "points": 2500},
        tier="gold",
        activity=Activity(3, datetime(2026, 11, 20, 22, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)),
    )


def theirs() -> Asked:
    return Asked(
        occurred_at=AT,
        zone=RIYADH,
        total_minor=10500,
        lines=tuple(
            TheirLine(
                one.categories, one.amount_minor, one.discount_minor, one.tax_minor, one.sku, one.quantity
            )
            for one in LINES
        ),
        merchant="riyadh-mall",
        channel="store",
        terminal=None,
        tenders={"card": 8000, "points": 2500},
        tier="gold",
        bills=3,
        last_bill_at=datetime(2026, 11, 20, 22, tzinfo=UTC),
        enrolled_at=datetime(2026, 11, 1, tzinfo=UTC),
    )


def as_the_oracle_has_it(kind: Kind, found: Any) -> Any:
    """A value in the form of the second writing: decimals as they are, sets as sets, times of day as they are written."""
    match kind:
        case "decimal":
            return Fraction(found, 1_000_000)
        case "set":
            return set(found)
        case "time":
            return f"{found // 60:02}:{found % 60:02}"
    return found


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_is_the_same_to_the_oracle_and_stands_on_the_page(name: str) -> None:
    field = FIELDS[name]
    found = field.get(subject(), LINES[0])
    expected = None if found is None else as_the_oracle_has_it(field.kind, found)
    read = theirs().value(name, theirs().lines[0])
    assert (set(read) if field.kind == "set" else read) == expected
    assert f"`{name}`" in PAGE.read_text()


@pytest.mark.parametrize("name", LADDER_FIELDS)
def test_each_field_of_a_ladder_is_the_same_to_the_oracle_and_stands_on_the_page(name: str) -> None:
    field = LADDER_FIELDS[name]
    climber = Climber(700, frozenset({"vip"}), AT.astimezone(RIYADH))
    seen = OnLadder(AT, RIYADH, 700, ("vip",))
    assert seen.value(name, None) == as_the_oracle_has_it(field.kind, field.get(climber, None))
    assert f"`{name}`" in PAGE.read_text()


@pytest.mark.parametrize("name", ["member.age", "time.year", "bill.weight", "act.weight", "line.colour"])
def test_a_field_that_is_not_there_is_no_other_field_to_the_oracle(name: str) -> None:
    with pytest.raises(ValueError, match=f"no field {name}"):
        theirs().value(name, theirs().lines[0])


@pytest.mark.parametrize(
    ("tree", "result"),
    [
        ({"bill.total_minor": {"gte": 10500, "lt": 10501}}, (True, "tt")),
        ({"bill.total_minor": {"between": [1, 10499]}}, (False, "f")),
        ({"bill.items": {"eq": "3.5"}}, (True, "t")),
        ({"bill.lines": {"in": [1, 2]}, "tier": {"ne": "gold"}}, (False, "tf")),
        ({"any": [{"tier": {"eq": "blue"}}, {"bill.channel": {"in": ["store"]}}]}, (True, "ft")),
        ({"not": {"bill.categories": {"any_of": ["coffee"]}}}, (False, "t")),
        ({"bill.categories": {"all_of": ["hot", "service-fee"], "none_of": ["tea"]}}, (True, "tt")),
        ({"bill.skus": {"any_of": ["ARB-250"]}, "bill.tenders": {"all_of": ["card"]}}, (True, "tt")),
        # What is not there holds in no comparison; `not` turns it round.
        ({"bill.terminal": {"ne": "T01"}}, (False, "f")),
        ({"bill.brand": {"not_in": ["x"]}}, (False, "f")),
        ({"not": {"bill.terminal": {"eq": "T01"}}}, (True, "f")),
        # The programme's calendar.
        ({"time.weekday": {"eq": "mon"}, "time.date": {"eq": "2026-11-23"}}, (True, "tt")),
        ({"time.time": {"between": ["22:00", "02:00"]}}, (True, "t")),
        ({"time.time": {"gt": "00:30"}}, (False, "f")),
        ({"time.month": {"eq": 11}, "time.day": {"lte": 22}}, (False, "tf")),
        ({"member.bills": {"eq": 0}}, (False, "f")),
        ({"member.days_since_last_bill": {"gte": 2}}, (True, "t")),
        ({"member.enrolled_days": {"between": [22, 22]}}, (True, "t")),
    ],
)
def test_a_tree_holds_with_the_result_of_each_comparison(
    tree: dict[str, Any], result: tuple[bool, str]
) -> None:
    assert list(mistakes(tree, FIELDS, ())) == []
    assert compile_condition(tree, FIELDS).test(subject()) == result
    assert holds(tree, theirs()) == result


def test_conditions_on_lines_are_asked_of_each() -> None:
    tree = {
        "line.items": {"gte": "2"},
        "any": [{"line.sku": {"eq": "ARB-250"}}, {"line.discount_minor": {"eq": 0}}],
    }
    compiled = compile_condition(tree, FIELDS)
    assert compiled.by_line
    assert [compiled.test(subject(), line) for line in LINES] == [(True, "ttf"), (False, "fft")]
    assert [holds(tree, theirs(), line) for line in theirs().lines] == [(True, "ttf"), (False, "fft")]


def test_every_mistake_of_a_tree_is_told_with_its_path() -> None:
    tree = {
        "any": [{"bill.total": {"gte": 1}}, {"tier": {"gte": "gold"}}, 3, {}],
        "not": {"bill.items": {"gt": 2}},
        "all": [],
        "time.time": {"between": ["09:00"], "in": ["9:00"]},
        "time.weekday": {"eq": "friday"},
        "bill.total_minor": {"between": [5, 4], "eq": True},
        "member.birthday": {"any_of": ["vip"]},
        "bill.channel": "store",
    }
    found = [(one.pointer, one.code) for one in mistakes(tree, FIELDS, ("rules", 0, "when"), not_yet=NOT_YET)]
    assert sorted(found) == [
        ("/rules/0/when/all", "field_type"),
        ("/rules/0/when/any/0/bill.total", "field_unknown"),
        ("/rules/0/when/any/1/tier/gte", "field_unknown"),
        ("/rules/0/when/any/2", "field_type"),
        ("/rules/0/when/any/3", "programme_invalid"),
        ("/rules/0/when/bill.channel", "field_type"),
        ("/rules/0/when/bill.total_minor/between", "programme_invalid"),
        ("/rules/0/when/bill.total_minor/eq", "field_type"),
        ("/rules/0/when/member.birthday", "programme_invalid"),
        ("/rules/0/when/not/bill.items/gt", "field_type"),
        ("/rules/0/when/time.time/between", "programme_invalid"),
        ("/rules/0/when/time.time/in/0", "field_type"),
        ("/rules/0/when/time.weekday/eq", "programme_invalid"),
    ]


def test_trees_are_bounded() -> None:
    deep: dict[str, Any] = {"tier": {"eq": "a"}}
    for _ in range(10):
        deep = {"not": deep}
    assert len(list(mistakes(deep, FIELDS, ()))) == 1
    wide = {"all": [{"tier": {"eq": "a"}}] * 101}
    assert len(list(mistakes(wide, FIELDS, ()))) == 1


@pytest.mark.parametrize(
    ("tree", "at"),
    [
        ({"bill.total_minor": {"gt": 5, "lt": 6}}, ("bill.total_minor", "lt")),
        ({"tier": {"eq": "gold"}, "all": [{"tier": {"in": ["blue"]}}]}, ("all", 0, "tier", "in")),
        ({"tier": {"eq": "gold", "ne": "gold"}}, ("tier", "ne")),
        ({"time.date": {"gte": "2026-02-01", "lt": "2026-02-01"}}, ("time.date", "lt")),
        (
            {"bill.lines": {"lte": 1}, "any": [{"bill.lines": {"gte": 2}}, {"bill.lines": {"eq": 3}}]},
            ("any", 0, "bill.lines", "gte"),
        ),
        ({"bill.lines": {"lte": 1}, "any": [{"bill.lines": {"gte": 2}}, {"tier": {"eq": "a"}}]}, None),
        ({"bill.total_minor": {"gte": 5, "lte": 5}}, None),
        ({"not": {"tier": {"eq": "gold"}}, "tier": {"eq": "gold"}}, None),  # not seen
    ],
)
def test_what_can_never_hold_is_found_where_it_can_be(tree: dict[str, Any], at: Any) -> None:
    assert contradiction(tree, FIELDS) == at
