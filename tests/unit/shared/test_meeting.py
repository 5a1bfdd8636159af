"""When two campaigns could be for the same bill, against a look at every half hour."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.programme import meeting
from shared.programme.earning import Campaign
from shared.programme.meeting import Meetings
from shared.programme.windows import compile_window

START = datetime(2026, 10, 20, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)


def campaign(code: str, **more: Any) -> Campaign:
    usual = {"starts_at": "2026-10-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z", "stacking": "exclusive"}
    return Campaign.model_validate({"code": code, "effect": {"bonus": 1}, **usual, **more})


@st.composite
def lasting(draw: st.DrawFn, code: str) -> Campaign:
    starts = START + HALF_HOUR * draw(st.integers(0, 400))
    made = {
        "starts_at": starts.isoformat(),
        "ends_at": (starts + HALF_HOUR * draw(st.integers(1, 400))).isoformat(),
    }
    if draw(st.booleans()):
        rules = [
            "DAILY",
            "DAILY;INTERVAL=3",
            "DAILY;INTERVAL=5",
            "WEEKLY;BYDAY=SU,WE",
            "MONTHLY;BYMONTHDAY=-1,25",
        ]
        made["recurring"] = {  # type: ignore[assignment]
            "rrule": f"FREQ={draw(st.sampled_from(rules))}",
            "at": draw(st.sampled_from(["00:00", "01:00", "01:30", "12:30", "23:30"])),
            "minutes": 30 * draw(st.integers(1, 60)),
        }
    return campaign(code, **made)


def met(one: Campaign, other: Campaign, zone: ZoneInfo) -> datetime | None:
    def open_at(a: Campaign, at: datetime) -> bool:
        starts = datetime.fromisoformat(a.starts_at)
        if not starts <= at < datetime.fromisoformat(a.ends_at):
            return False
        if a.recurring is None:
            return True
        first = starts.astimezone(zone).date()
        window = compile_window(a.recurring.rrule, a.recurring.at, a.recurring.minutes, first)
        return window.is_open(at.astimezone(zone))

    both = (START + HALF_HOUR * k for k in range(900))
    return next((at for at in both if open_at(one, at) and open_at(other, at)), None)


@settings(max_examples=40)
@given(lasting("one"), lasting("other"), st.sampled_from(["Asia/Riyadh", "Europe/London"]))
def test_campaigns_meet_when_some_moment_has_both(one: Campaign, other: Campaign, zone: str) -> None:
    found, seen = Meetings(ZoneInfo(zone)).first(one, other), met(one, other, ZoneInfo(zone))
    if zone == "Asia/Riyadh":
        assert found == seen
    elif seen is not None:  # in the hour that clocks show twice it may be in doubt, and then they meet
        assert found is not None
        assert found <= seen
    elif found is not None:
        assert abs(found - datetime(2026, 10, 25, 1, tzinfo=UTC)) <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ({"match": {"merchants": ["a", "b"]}}, {"match": {"merchants": ["c"]}}, True),
        ({"match": {"brands": ["a"]}}, {"match": {"brands": ["b"]}}, True),
        ({"match": {"channels": ["app"]}}, {"when": {"bill.channel": {"in": ["ecom", "store"]}}}, True),
        ({"when": {"bill.total_minor": {"lt": 500}}}, {"when": {"bill.total_minor": {"gte": 500}}}, True),
        ({"match": {"merchants": ["a"]}}, {"match": {"merchants": ["a", "c"]}}, False),
        ({"match": {"merchants": ["a"]}}, {"match": {"brands": ["b"]}}, False),
        ({"match": {"tenders": ["cash"]}}, {"match": {"tenders": ["card"]}}, False),  # a bill may have both
        ({"match": {"categories": ["tea"]}}, {"match": {"categories": ["coffee"]}}, False),
        ({"when": {"line.amount_minor": {"lt": 5}}}, {"when": {"line.amount_minor": {"gt": 9}}}, False),
        (
            {"when": {"not": {"bill.lines": {"eq": 1}}}},
            {"when": {"bill.lines": {"eq": 1}}},
            False,
        ),  # in doubt
    ],
)
def test_campaigns_that_no_bill_can_have_both_of_never_meet(one: Any, other: Any, apart: bool) -> None:
    found = Meetings(ZoneInfo("UTC")).first(campaign("one", **one), campaign("other", **other))
    assert found == (None if apart else datetime(2026, 10, 1, tzinfo=UTC))


def test_rules_of_twenty_years_are_read_to_their_end_and_no_further_than_a_document_may_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rule(day: int, code: str) -> Campaign:
        return campaign(
            code,
            starts_at="2026-01-01T00:00:00Z",
            ends_at="2046-01-01T00:00:00Z",
            recurring={"rrule": f"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY={day}", "minutes": 1440},
        )

    leap, last, before = rule(29, "leap"), rule(-1, "last"), rule(28, "before")
    meetings = Meetings(ZoneInfo("UTC"))
    assert meetings.first(leap, before) is None
    assert meetings.first(leap, last) == datetime(2028, 2, 29, tzinfo=UTC)
    assert meetings.all_seen
    monkeypatch.setattr(meeting, "MOST_LOOKED_AT", 20)
    few = Meetings(ZoneInfo("UTC"))
    assert few.first(leap, before) == datetime(2026, 1, 1, tzinfo=UTC)  # in doubt
    assert not few.all_seen
