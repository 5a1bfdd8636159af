"""Acts as a programme declares them: what is refused, with its place, and what one is worth."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.programme.acts import ActSubject
from shared.programme.compiled import CompiledProgramme, compile_programme
from shared.programme.validation import ProgrammeInvalid, validate_for_activation
from tests.support.programmes import SHOPS

STEPS: dict[str, Any] = {"type": "object", "properties": {"steps": {"type": "integer"}}}
WALK: dict[str, Any] = {
    "code": "walk",
    "rate": {"points": "0.5", "per": 100, "of": "steps"},
    "maximum": 1000,
    "data": STEPS,
}


def with_acts(*acts: dict[str, Any]) -> dict[str, Any]:
    return {**SHOPS, "earning": {**SHOPS["earning"], "acts": list(acts)}}


def compiled(*acts: dict[str, Any]) -> CompiledProgramme:
    return compile_programme(with_acts(*acts), 1)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "points and a rate": ({**WALK, "points": 5}, "/earning/acts/0"),
    "a rate without a maximum": ({**WALK, "maximum": None}, "/earning/acts/0/maximum"),
    "a rate of what the schema does not declare": ({**WALK, "data": None}, "/earning/acts/0/rate/of"),
    "a schema that is none": ({**WALK, "data": {"type": "thing"}}, "/earning/acts/0/data/type"),
    "data that is no object": (
        {"code": "a", "points": 1, "data": {"type": "array"}},
        "/earning/acts/0/data/type",
    ),
    "a reference": (
        {"code": "a", "points": 1, "data": {**STEPS, "allOf": [{"$ref": "http://elsewhere/"}]}},
        "/earning/acts/0/data/allOf/0/$ref",
    ),
    "a pattern in a property that has the name of one": (
        {
            "code": "a",
            "points": 1,
            "data": {"type": "object", "properties": {"pattern": {"type": "string", "pattern": "(a+)+$"}}},
        },
        "/earning/acts/0/data/properties/pattern/pattern",
    ),
    "a condition on what no act has": (
        {**WALK, "when": {"bill.total_minor": {"gt": 1}}},
        "/earning/acts/0/when/bill.total_minor",
    ),
    "data of a sign-up": ({"code": "a", "on": "sign_up", "points": 1, "data": STEPS}, "/earning/acts/0/data"),
    "a referral without a minimum": (
        {"code": "a", "on": "referral", "points": 1},
        "/earning/acts/0/minimum_minor",
    ),
    "a minimum of what is no referral": (
        {"code": "a", "on": "sign_up", "points": 1, "minimum_minor": 1},
        "/earning/acts/0/minimum_minor",
    ),
    "points for both and for each": (
        {
            "code": "a",
            "on": "referral",
            "points": 1,
            "points_each": {"referrer": 1, "referred": 1},
            "minimum_minor": 1,
        },
        "/earning/acts/0",
    ),
    "a budget of both kinds": (
        {"code": "a", "points": 1, "budget": {"points": 1, "money_minor": 1}},
        "/earning/acts/0/budget",
    ),
    "a condition that can't hold": (
        {**WALK, "when": {"act.data.steps": {"gt": 5, "lt": 5}}},
        "/earning/acts/0/when/act.data.steps/lt",
    ),
}


@pytest.mark.parametrize(("act", "pointer"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_told_with_its_place(act: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        validate_for_activation(with_acts(act))
    assert [one.pointer for one in refused.value.errors] == [pointer]


def test_of_what_nobody_reports_there_is_one_type() -> None:
    sign_up = {"code": "a", "on": "sign_up", "points": 1}
    with pytest.raises(ProgrammeInvalid) as refused:
        validate_for_activation(with_acts(sign_up, {**sign_up, "code": "b"}))
    assert [one.pointer for one in refused.value.errors] == ["/earning/acts/1/on"]


@given(
    steps=st.one_of(st.integers(-10, 10**20), st.floats(allow_nan=False), st.text(max_size=3), st.booleans())
)
def test_a_rate_gives_whole_points_of_whole_numbers_up_to_its_maximum(steps: Any) -> None:
    act = compiled(WALK).acts["walk"]
    zone = ZoneInfo("Asia/Riyadh")
    subject = ActSubject(
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        zone=zone,
        tier=None,
        merchant=None,
        data={"steps": steps},
    )
    whole = steps if type(steps) is int and steps > 0 else 0
    found = act.worth(subject)
    assert (found.units, found.wanted) == (whole, min(whole // 200, 1000))
    assert found.result == ("able" if whole >= 200 else "nothing")
