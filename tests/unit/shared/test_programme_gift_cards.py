"""The gift card section: what it means, and its mistakes with their places."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.programme.compiled import compile_programme
from shared.programme.validation import ProgrammeInvalid, validate
from tests.support.programmes import document


def section(**rules: Any) -> dict[str, Any]:
    return {"serial_prefix": "987012", "denominations": [5_000, 10_000], **rules}


def test_what_is_not_said_has_its_default() -> None:
    assert compile_programme(document(), 1).gift_cards is None
    rules = compile_programme(document(gift_cards=section()), 1).gift_cards
    assert rules is not None
    assert (rules.pin_attempts, rules.lock) == (5, timedelta(minutes=30))
    assert (rules.refundable, rules.reloadable) == (True, False)
    assert rules.expires_at(datetime(2026, 1, 31, tzinfo=UTC)) is None


def test_a_card_is_loaded_with_what_is_declared_and_ends_in_the_programmes_zone() -> None:
    denominated = compile_programme(document(gift_cards=section(valid_months=1)), 1).gift_cards
    assert denominated is not None
    assert [denominated.loads(amount) for amount in (5_000, 10_000, 7_500)] == [True, True, False]
    # 23:30 in Riyadh on 31 January: to the end of 28 February there.
    ends = denominated.expires_at(datetime(2026, 1, 31, 20, 30, tzinfo=UTC))
    assert ends == datetime(2026, 2, 28, 21, tzinfo=UTC)
    ranged = section(denominations=None, amounts={"least_minor": 100, "most_minor": 1_050, "step_minor": 100})
    rules = compile_programme(document(gift_cards=ranged), 1).gift_cards
    assert rules is not None
    assert [amount for amount in (0, 50, 100, 150, 1_000, 1_050, 1_100) if rules.loads(amount)] == [
        100,
        1_000,
    ]


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        ({"denominations": None}, ""),
        ({"amounts": {"least_minor": 1, "most_minor": 2}}, ""),
        ({"denominations": [100, 100]}, "/denominations"),
        ({"denominations": None, "amounts": {"least_minor": 150, "most_minor": 190, "step_minor": 100}}, "/amounts"),
        ({"serial_prefix": "6270"}, "/serial_prefix"),
        ({"serial_prefix": "411111"}, "/serial_prefix"),
        ({"valid_months": 0}, "/valid_months"),
        ({"pin_attempts": 0}, "/pin_attempts"),
        ({"colour": "red"}, "/colour"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(rules: dict[str, Any], where: str) -> None:
    with pytest.raises(ProgrammeInvalid) as refused:
        validate(document(gift_cards=section(**rules)))
    assert [error.pointer.removesuffix("/int") for error in refused.value.errors] == [f"/gift_cards{where}"]
