"""The redemption section: all its mistakes with their places, and what it means when nothing is said."""

from datetime import timedelta
from typing import Any

import pytest

from shared.programme.compiled import compile_programme
from shared.programme.redeeming import Redeeming
from shared.programme.validation import ProgrammeInvalid, validate
from tests.support.programmes import SHOPS, document


def section(**rules: Any) -> dict[str, Any]:
    return {"consumption": "oldest_earned", "minimum_points": 1, "step_points": 1, **rules}


def test_nothing_said_means_no_limits_a_quarter_of_an_hour_and_thirty_days() -> None:
    for given in (SHOPS, document(redemption=None)):
        rules = compile_programme(given, 1).redeeming
        assert rules == Redeeming()
        assert (rules.authorisation, rules.return_window) == (timedelta(minutes=15), timedelta(days=30))
        assert not rules.counts


def test_what_is_said_is_what_is_decided_with() -> None:
    given = section(
        max_bill_share="0.25",
        member_limits=[{"points": 500, "per": "day"}, {"points": 900, "per": "month"}],
        velocity=[{"redemptions": 3, "minutes": 10}],
        tiers=["gold"],
        authorisation_minutes=5,
        return_days="unlimited",
        restore="renewed",
    )
    assert compile_programme(document(redemption=given), 1).redeeming == Redeeming(
        authorisation=timedelta(minutes=5),
        return_window=None,
        restore="renewed",
        bill_share=(1, 4),
        member_limits=(("day", 500), ("month", 900)),
        velocity=((timedelta(minutes=10), 3),),
        tiers=frozenset({"gold"}),
    )


def test_all_mistakes_of_the_section_are_told_with_their_places() -> None:
    given = section(
        minimum_points=250,
        step_points=100,
        max_bill_share="1.01",
        member_limits=[
            {"points": 299, "per": "day"},
            {"points": 300, "per": "day"},
            {"points": 0, "per": "year"},
        ],
        velocity=[{"redemptions": 3, "minutes": 10}, {"redemptions": 2, "minutes": 10}, {"minutes": 5}],
        tiers=["gold", "platinum", "gold", 7],
        authorisation_minutes=0,
        return_days=-1,
        restore="anew",
    )
    with pytest.raises(ProgrammeInvalid) as refused:
        validate(document(redemption=given))
    assert [(error.pointer.removeprefix("/redemption/"), error.code) for error in refused.value.errors] == [
        ("authorisation_minutes", "programme_invalid"),
        ("max_bill_share", "programme_invalid"),
        ("member_limits/0/points", "programme_invalid"),
        ("member_limits/1/per", "programme_invalid"),
        ("member_limits/2/per", "programme_invalid"),
        ("member_limits/2/points", "programme_invalid"),
        ("restore", "programme_invalid"),
        ("return_days", "programme_invalid"),
        ("tiers/1", "programme_invalid"),
        ("tiers/2", "programme_invalid"),
        ("tiers/3", "field_type"),
        ("velocity/1/minutes", "programme_invalid"),
        ("velocity/2/redemptions", "field_missing"),
    ]


def test_vector_b6_points_that_are_worth_nothing_are_no_programme() -> None:
    """There they buy nothing; here no version says so, and so no bill is paid with them."""
    worthless = document(programme={**SHOPS["programme"], "point_value": "0"})
    with pytest.raises(ProgrammeInvalid) as refused:
        validate(worthless)
    assert [error.pointer for error in refused.value.errors] == ["/programme/point_value"]


@pytest.mark.parametrize("share", ["0", "-0.1", "half", "", 0.5, "1e400"])
def test_a_share_is_a_decimal_above_zero_and_at_most_one(share: Any) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        validate(document(redemption=section(max_bill_share=share)))
    assert [error.pointer for error in refused.value.errors] == ["/redemption/max_bill_share"]


@pytest.mark.parametrize(
    "wrong", [{"tiers": "gold"}, {"member_limits": {}}, {"velocity": [1]}, {"tiers": [["gold"]]}]
)
def test_what_has_not_the_right_shape_is_told_and_nothing_breaks(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        validate(document(redemption=section(**wrong)))
    assert {error.code for error in refused.value.errors} == {"field_type"}
