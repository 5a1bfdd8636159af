"""The plans of held accruals as the oracle judges them: right ones hold, and each way to spoil them is found."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pointbank.verify.earning.holds import check_plans
from pointbank.verify.report import Check

BILLED = datetime(2026, 11, 22, 12, tzinfo=UTC)


def plans(
    *, after: int, taken: tuple[int, ...] = (60,), through: int | None = None, **spoilt: int
) -> list[Any]:
    """60 until activation, 40 day by day over 30 days, and what refunds took at once; asked last so many days after."""
    at = None if through is None else BILLED + timedelta(days=after)
    common = {
        "accrual_id": "a", "earned": 100, "billed_on": BILLED.date(), "zone": "UTC", "through": through, "first_at": at,
        "last_at": at, "activated_at": BILLED, "review": None, "ended": False,
        "taken": list(taken), "taken_at": [BILLED] * len(taken), "released": 0,
    }  # fmt: skip
    phones = {
        "rule": "phones",
        "points": 60,
        "until": "activation",
        "days": 0,
        "last_on": None,
        "cancelled": 36,
    }
    daily = {
        "rule": "daily", "points": 40, "until": "day_by_day", "days": 30, "last_on": date(2026, 12, 22), "cancelled": 24,
    }  # fmt: skip
    made: list[dict[str, Any]] = [common | phones, common | daily]
    for name, value in spoilt.items():
        made[name.endswith("_daily")][name.removesuffix("_daily")] = value
    return made


def wrongs(rows: list[Any]) -> list[str]:
    check = Check("holds:planned", 8, "")
    check_plans(check, rows)
    assert (check.compared, check.broken) == (1, len(check.examples))
    return check.examples


@pytest.mark.parametrize(
    "rows",
    [
        plans(after=0),
        plans(after=0, taken=(30, 30), cancelled=36, cancelled_daily=24),
        plans(after=1, through=24, released=24),
        plans(after=30, through=40, released=24, released_daily=16),
        plans(after=0, taken=(), cancelled=0, cancelled_daily=0),
        # Asked for before the bank said what it had taken: there is nothing left of it.
        plans(after=0, taken=(60,), through=60, released=60, cancelled=0, cancelled_daily=40),
    ],
)
def test_plans_that_are_right_hold(rows: list[Any]) -> None:
    assert wrongs(rows) == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (plans(after=0, cancelled=0, cancelled_daily=0), "took 60 of its held points; its plans count 0"),
        (plans(after=0, cancelled=60, cancelled_daily=0), "rule daily: 0 are cancelled, 24 are its share"),
        (plans(after=1, through=60, released=60), "rule phones: 60 are released, 24 were due"),
        (plans(after=17, through=17, released_daily=17), "rule daily: 17 are released, 0 were due"),
        (plans(after=30, through=41, released=25, released_daily=16), "25 released, 36 cancelled of 60"),
    ],
)
def test_plans_that_are_spoilt_are_found(rows: list[Any], said: str) -> None:
    found = wrongs(rows)
    assert any(said in one for one in found), found
