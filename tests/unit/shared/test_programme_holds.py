"""Until when points are held: whole points day by day, the rest on the last day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.programme.compiled import compile_programme
from shared.programme.holds import CompiledHold, last_day, released_by
from shared.programme.validation import ProgrammeInvalid, validate
from tests.support.programmes import changed, document, earning, rule

RIYADH = ZoneInfo("Asia/Riyadh")
DAY = date(2026, 11, 1)


def by(points: int, days: int, after: int) -> tuple[int, datetime | None]:
    """What of so many points is released at noon, so many days after the bill's."""
    noon = datetime(2026, 11, 1, 12, tzinfo=RIYADH) + timedelta(days=after)
    last = last_day(CompiledHold("day_by_day", days), DAY)
    return released_by("day_by_day", points, billed_on=DAY, days=days, last_on=last, zone=RIYADH, now=noon)


def test_a_thirty_day_plan_releases_whole_points_and_the_rest_on_the_last_day() -> None:
    assert [by(100, 30, after)[0] for after in (0, 1, 2, 29, 30, 31)] == [0, 3, 6, 87, 100, 100]
    assert by(100, 30, 1)[1] == datetime(2026, 11, 2, 21, tzinfo=UTC)  # midnight in Riyadh
    assert by(100, 30, 30)[1] is None


def test_fewer_points_than_days_come_on_the_last_day_alone() -> None:
    assert [by(20, 30, after)[0] for after in (1, 29, 30)] == [0, 0, 20]
    assert by(20, 30, 1)[1] == datetime(2026, 11, 30, 21, tzinfo=UTC)


@given(st.integers(1, 10**9), st.integers(1, 400))
def test_what_is_released_only_grows_and_ends_with_all(points: int, days: int) -> None:
    steps = [by(points, days, after)[0] for after in sorted({0, 1, days // 2, days - 1, days})]
    assert steps == sorted(steps)
    assert steps[-1] == points


def test_a_date_is_of_the_calendar_or_days_after_the_bill() -> None:
    assert last_day(CompiledHold("date", 14), DAY) == date(2026, 11, 15)
    assert last_day(CompiledHold("date", on=date(2026, 12, 24)), DAY) == date(2026, 12, 24)
    assert last_day(CompiledHold("activation"), DAY) is None


def test_a_rule_says_until_when_it_holds_and_holds_until_activation_otherwise() -> None:
    programme = compile_programme(
        document(
            earning=earning(
                rule("a", timing="hold", hold={"until": "day_by_day", "days": 30}),
                rule("b", timing="hold", hold={"until": "date", "on": "2026-12-24"}),
                rule("c", timing="hold"),
            )
        ),
        1,
    )
    assert [one.hold for one in programme.book.rules] == [
        CompiledHold("day_by_day", 30),
        CompiledHold("date", on=date(2026, 12, 24)),
        CompiledHold("activation"),
    ]


@pytest.mark.parametrize(
    ("hold", "timing", "pointer"),
    [
        ({"until": "date"}, "hold", "/earning/rules/1/hold"),
        ({"until": "date", "days": 3, "on": "2026-12-24"}, "hold", "/earning/rules/1/hold"),
        ({"until": "date", "on": "2026-02-30"}, "hold", "/earning/rules/1/hold/on"),
        ({"until": "day_by_day", "days": 0}, "hold", "/earning/rules/1/hold/days"),
        ({"until": "activation"}, "now", "/earning/rules/1/hold"),
    ],
)
def test_a_hold_that_makes_no_sense_is_refused_with_its_place(
    hold: dict[str, Any], timing: str, pointer: str
) -> None:
    made = changed("/earning/rules/1/hold", hold)
    made["earning"]["rules"][1]["timing"] = timing
    with pytest.raises(ProgrammeInvalid) as refused:
        validate(made)
    assert pointer in [error.pointer for error in refused.value.errors]
