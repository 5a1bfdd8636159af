"""Who may put points right alone, and who may decide about what others ask."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.redeem.domain.acts import Adjust, Adjustment, DecideAdjustment, Evidence, Part
from services.redeem.domain.approving import (
    AdjustmentDecided,
    NeedsSecondPerson,
    OwnRequest,
    check_alone,
    decided,
    requested,
)
from shared.errors import Refusal
from shared.ids import uuid7
from shared.programme.compiled import CompiledProgramme, compile_programme
from shared.programme.validation import validate
from tests.support.programmes import SHOPS

NOW = datetime(2026, 11, 26, tzinfo=UTC)
WALLET = UUID(int=1)


def terms(**adjustments: Any) -> CompiledProgramme:
    return compile_programme({**SHOPS, **({"adjustments": adjustments} if adjustments else {})}, 1)


def asked(*points: int) -> Adjust:
    parts = tuple(
        Part(posting_id=uuid7(), wallet_id=UUID(int=k), points=n) for k, n in enumerate(points, start=1)
    )
    return Adjust(
        adjustment_id=uuid7(), programme="shops", parts=parts, reason="goodwill", evidence=Evidence("C")
    )


def request(*points: int, alone: int = 0, value: CompiledProgramme | None = None) -> Adjustment:
    return requested(asked(*points), terms=value or terms(), alone={WALLET: alone}, by="noor", now=NOW)


@given(alone=st.integers(0, 2000), points=st.integers(-2000, 2000).filter(bool))
def test_one_person_alone_never_moves_more_than_the_threshold_of_a_wallet(alone: int, points: int) -> None:
    made = request(points, alone=alone)
    assert (made.state == "posted") == (alone + abs(points) <= 1000)
    assert made.decided_by is None


def test_several_parts_wait_however_small_and_a_threshold_of_nothing_leaves_nobody_alone() -> None:
    assert request(1, 1).state == "pending"
    assert request(1, value=terms(second_person_above=0)).state == "pending"
    with pytest.raises(NeedsSecondPerson):
        check_alone(1, 0, terms(second_person_above=0))


def test_another_person_decides_and_only_once() -> None:
    pending = request(1001)
    for approve, state in ((True, "posted"), (False, "rejected")):
        command = DecideAdjustment(adjustment_id=pending.adjustment_id, approve=approve, note="seen")
        with pytest.raises(OwnRequest):
            decided(command, pending, by="noor", now=NOW)
        done = decided(command, pending, by="omar", now=NOW)
        assert (done.state, done.decided_by, done.decided_at, done.note) == (state, "omar", NOW, "seen")
        with pytest.raises(AdjustmentDecided):
            decided(command, done, by="lina", now=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"second_person_above": -1},
        {"second_person_above": 1.5},
        {"reasons": []},
        {"reasons": ["goodwill", "goodwill"]},
        {"reasons": ["dispute"]},
        {"more": 1},
    ],
)
def test_a_programme_says_its_reasons_once_and_none_that_is_taken(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        validate({**SHOPS, "adjustments": wrong})
    assert refused.value.code == "programme_invalid"


def test_a_programme_that_says_nothing_has_a_threshold_and_reasons() -> None:
    adjusting = terms().adjusting
    assert adjusting.second_person_above == 1000
    assert adjusting.reasons == {"correction", "fraud", "goodwill", "missing_purchase"}
    assert terms(reasons=["whim"]).adjusting.reasons == {"whim"}
