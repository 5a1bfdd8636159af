import json
from typing import Any

import pytest

from shared.programme.validation import ProgrammeInvalid, validate, validate_for_activation, without_nulls
from tests.support.programmes import SHOPS, Document, changed, document, ladder, rule


def mistakes(given: Document, *, active: bool = False) -> list[tuple[str, str]]:
    with pytest.raises(ProgrammeInvalid) as refused:
        (validate_for_activation if active else validate)(given)
    return [(error.pointer, error.code) for error in refused.value.errors]


def test_the_contracts_document_is_valid_and_complete() -> None:
    programme = validate_for_activation(SHOPS)
    assert programme.programme.code == "shops"
    assert programme.earning is not None
    assert [rule.code for rule in programme.earning.rules] == ["service-fees", "everything"]


def test_a_draft_needs_its_head_alone() -> None:
    given = document(earning=None, redemption=None, expiry=None, tiers=None)
    programme = validate(given)
    assert (programme.earning, programme.redemption, programme.tiers) == (None, None, None)
    assert programme.expiry.policy == "never"


def test_nothing_is_activated_without_an_earning_rule_and_a_redemption_section() -> None:
    only_skips = document(redemption=None)
    del only_skips["earning"]["rules"][1]
    assert mistakes(only_skips, active=True) == [
        ("/earning/rules", "field_missing"),
        ("/redemption", "field_missing"),
    ]
    assert mistakes(document(earning=None), active=True) == [("/earning/rules", "field_missing")]


def test_null_means_left_out() -> None:
    given = changed("/programme/backdating_days", None)
    given["tiers"] = None
    programme = validate(given)
    assert (programme.programme.backdating_days, programme.tiers) == (30, None)
    assert without_nulls({"a": None, "b": [{"c": None, "d": 1}]}) == {"b": [{"d": 1}]}
    assert mistakes(changed("/programme/currency", None)) == [("/programme/currency", "field_missing")]


def test_all_mistakes_are_told_at_once_with_their_places() -> None:
    given = document(
        document=2,
        redemption=None,
        expiry={"policy": "birth_month_end", "years": 3},
        surprise=1,
    )
    given["programme"] |= {
        "currency": "SRA",
        "point_value": "-1",
        "time_zone": "Mars/Olympus",
        "card_prefix": "41",
    }
    given["earning"]["rules"] = [
        {"code": "a", "action": "skip", "rate": {"points": "0", "per_minor": 0}},
        {"code": "a", "action": "earn", "match": {"categories": []}},
        3,
    ]
    given["tiers"]["ladder"][0]["entry"] = {"points": {"gte": 5}}
    given["tiers"]["ladder"][1]["multiplier"] = 1.1
    given["tiers"]["ladder"][2]["entry"] = {"points": {"gte": 500}}
    assert mistakes(given, active=True) == [
        ("/document", "programme_invalid"),
        ("/earning/rules/0/rate", "programme_invalid"),
        ("/earning/rules/0/rate/per_minor", "programme_invalid"),
        ("/earning/rules/0/rate/points", "programme_invalid"),
        ("/earning/rules/1/code", "programme_invalid"),
        ("/earning/rules/1/match/categories", "programme_invalid"),
        ("/earning/rules/1/rate", "field_missing"),
        ("/earning/rules/2", "field_type"),
        ("/expiry/policy", "programme_invalid"),
        ("/programme/card_prefix", "programme_invalid"),
        ("/programme/currency", "programme_invalid"),
        ("/programme/point_value", "programme_invalid"),
        ("/programme/time_zone", "programme_invalid"),
        ("/redemption", "field_missing"),
        ("/surprise", "field_unknown"),
        ("/tiers/ladder/0/entry", "programme_invalid"),
        ("/tiers/ladder/1/multiplier", "field_type"),
        ("/tiers/ladder/2/entry/points/gte", "programme_invalid"),
    ]


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("/programme/code", "-shops", "programme_invalid"),
        ("/programme/name", {}, "programme_invalid"),
        ("/programme/point_value", 0.1, "field_type"),
        ("/programme/point_value", "0.00", "programme_invalid"),
        ("/programme/backdating_days", -1, "programme_invalid"),
        ("/programme/backdating_days", True, "field_type"),
        ("/programme/card_prefix", "411111", "programme_invalid"),
        ("/programme/card_prefix", "627015012", "programme_invalid"),
        ("/earning/rounding/mode", "up", "programme_invalid"),
        ("/earning/rules/1/priority", "0", "field_type"),
        ("/earning/rules/1/rate/points", "1e3", "programme_invalid"),
        ("/earning/rules/1/rate/whole_steps", 1, "field_type"),
        ("/earning/rules/1/action", "double", "programme_invalid"),
        ("/earning/rules/1/color", "red", "field_unknown"),
        ("/redemption/minimum_points", 0, "programme_invalid"),
        ("/expiry/months", -1, "programme_invalid"),
        ("/expiry/policy", ..., "field_missing"),
        ("/expiry/notice_days", [7, 7], "programme_invalid"),
        ("/redemption/on_spent", "forgive", "programme_invalid"),
        ("/tiers/ladder", [], "programme_invalid"),
        ("/tiers/ladder/1/entry", ..., "field_missing"),
        ("/tiers/ladder/2/code", "silver", "programme_invalid"),
        ("/tiers/ladder/2/multiplier", "0", "programme_invalid"),
    ],
)
def test_each_mistake_has_its_place_and_code(path: str, value: Any, code: str) -> None:
    assert mistakes(changed(path, value)) == [(path, code)]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/earning/base", "visit"),
        ("/expiry", {"policy": "birth_month_end", "years": 2}),
        ("/tiers/lifecycle", "rolling"),
        ("/tiers/metric", "spend"),
    ],
)
def test_what_is_not_computed_yet_is_refused_in_so_many_words(path: str, value: Any) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        validate(changed(path, value))
    named = value["policy"] if isinstance(value, dict) else value
    assert [error.detail for error in refused.value.errors] == [f"{named} is not available yet."]


def test_backdating_may_be_unlimited() -> None:
    assert (
        validate(changed("/programme/backdating_days", "unlimited")).programme.backdating_days == "unlimited"
    )


def test_thresholds_must_rise_from_tier_to_tier() -> None:
    given = document(tiers=ladder("1", "1.1", "1.2", "1.3"))
    given["tiers"]["ladder"][2]["entry"]["points"]["gte"] = 100
    given["tiers"]["ladder"][3]["entry"]["points"]["gte"] = 99
    assert [pointer for pointer, _ in mistakes(given)] == [
        "/tiers/ladder/2/entry/points/gte",
        "/tiers/ladder/3/entry/points/gte",
    ]


@pytest.mark.parametrize(
    ("points", "multiplier", "point_value", "refused"),
    [
        ("1000", "1", "0.01", False),
        ("1000.000001", "1", "0.01", True),
        ("500", "2", "0.01", False),
        ("500", "2.001", "0.01", True),
        # A point may be worth much where a bill earns few: the money of 10^12 points must fit its column too.
        ("1", "1", "92233.72", False),
        ("1", "1", "92233.73", True),
    ],
)
def test_no_bill_can_be_worth_more_than_the_ledger_holds(
    points: str, multiplier: str, point_value: str, refused: bool
) -> None:
    given = document(tiers=ladder("1", multiplier))
    given["programme"]["point_value"] = point_value
    given["earning"]["rules"] = [
        rule("small"),
        rule("large") | {"rate": {"points": points, "per_minor": 1}},
    ]
    if refused:
        assert mistakes(given) == [("/earning/rules/1/rate/points", "programme_invalid")]
    else:
        assert validate(given).programme.point_value == point_value


def test_a_rule_that_earns_has_a_rate_and_one_that_skips_has_none() -> None:
    without = rule("a")
    del without["rate"]
    assert mistakes(changed("/earning/rules", [without])) == [("/earning/rules/0/rate", "field_missing")]
    assert mistakes(changed("/earning/rules/1/action", "skip")) == [
        ("/earning/rules/1/rate", "programme_invalid")
    ]


@pytest.mark.parametrize(
    "given", [{}, {"programme": []}, {"tiers": {"ladder": {}}}, {"earning": {"rules": [[], 1, None]}}]
)
def test_any_json_object_is_refused_and_never_an_error(given: Document) -> None:
    assert ("/document", "field_missing") in mistakes(given, active=True)
    assert json.loads(json.dumps(given)) == given


def test_of_very_many_mistakes_the_first_are_told_and_all_are_counted() -> None:
    with pytest.raises(ProgrammeInvalid, match=r"has 5000 mistakes; the first 50 are told\.") as refused:
        validate({**SHOPS, **{f"k{number:04d}": 1 for number in range(5000)}})
    assert [error.pointer for error in refused.value.errors] == [f"/k{number:04d}" for number in range(50)]
