"""A programme's adjustments section: which reasons a person may give, and from where on a second one must agree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from shared.programme.base import MAX_POINTS, Code, Section

BY_DISPUTE = "dispute"
"""The reason of what an upheld dispute posts; it need not stand in a programme's list, and no request can name it."""

COUNTED_FOR = timedelta(hours=24)
"""What was posted to a wallet without a second person counts for so long towards the threshold: ten small ones are a large one."""

DEFAULT_REASONS = ("correction", "fraud", "goodwill", "missing_purchase")


def _distinct(reasons: list[str]) -> list[str]:
    if len(set(reasons)) < len(reasons):
        raise ValueError("a reason stands in it twice")
    if BY_DISPUTE in reasons:
        raise ValueError(f"{BY_DISPUTE} is the reason of what upheld disputes post")
    return reasons


class Adjustments(Section):
    second_person_above: Annotated[int, Field(ge=0, le=MAX_POINTS)] = 1000
    """The most points that one person alone gives or takes of a wallet within 24 hours; every bulk adjustment takes two."""
    reasons: Annotated[
        list[Code],
        Field(min_length=1, max_length=100, default_factory=lambda: list(DEFAULT_REASONS)),
        AfterValidator(_distinct),
    ]
    """The codes that an adjustment or reinstatement may give as its reason."""


@dataclass(frozen=True, slots=True)
class Adjusting:
    """What a version says about points that people put right."""

    second_person_above: int = 1000
    reasons: frozenset[str] = frozenset(DEFAULT_REASONS)


def compile_adjusting(section: Adjustments | None) -> Adjusting:
    """The section as it was written; without one, what it says when nothing is said."""
    if section is None:
        return Adjusting()
    return Adjusting(section.second_person_above, frozenset(section.reasons))
