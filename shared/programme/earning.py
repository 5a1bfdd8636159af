"""The earning section as people write it: rules, how their points are counted, and the most that a bill may earn.

docs/programme.md tells it to people; how rules become points is at the head of `rules`.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.money import RoundingMode
from shared.programme.base import MAX_MINOR, MAX_POINTS, Code, PositiveDecimal, Section, Tree

Base = Literal["amount", "item", "visit", "fixed"]
Channel = Literal["store", "ecom", "app", "kiosk", "call_center", "partner"]
Sku = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Brand = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Codes = Annotated[list[Code], Field(min_length=1, max_length=1000)]


class Rounding(Section):
    mode: RoundingMode = "floor"
    at: Literal["line", "bill"] = "bill"
    when: Literal["before_multiplier", "after_multiplier"] = "after_multiplier"


class Match(Section):
    """Which lines of which bills: in each field any of those named, in all fields that are named. Nothing named: all."""

    categories: Codes | None = None
    skus: Annotated[list[Sku], Field(min_length=1, max_length=10_000)] | None = None
    merchants: Codes | None = None
    brands: Annotated[list[Brand], Field(min_length=1, max_length=1000)] | None = None
    channels: Annotated[list[Channel], Field(min_length=1)] | None = None
    tenders: Codes | None = None
    """Bills that were paid, in any part, with one of these; only that part of the amount counts."""


class Rate(Section):
    """`points` per `per_minor` of money (base amount), per `per_items` items (base item), per bill (visit) or per line
    (fixed); with `whole_steps` only full steps count."""

    points: PositiveDecimal
    per_minor: Annotated[int, Field(ge=1, le=MAX_MINOR)] | None = None
    per_items: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    whole_steps: bool = False


class Rule(Section):
    """One earning rule. The highest priority that matches a line decides it, ties by order in the document."""

    code: Code
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    match: Match = Match()
    when: Tree | None = None
    """A condition that must hold besides."""
    action: Literal["earn", "skip"]
    timing: Literal["now", "hold"] = "now"
    on_discounted: bool = True
    base: Base | None = None
    """What is counted; the section's `base` unless given."""
    rate: Rate | None = None
    tier_multipliers: Annotated[dict[Code, PositiveDecimal], Field(min_length=1, max_length=100)] | None = (
        None
    )
    """Multipliers of this rule, by tier, in place of the ladder's."""


class Maximum(Section):
    """The most points that one act may earn, by the kind of act."""

    bill: Annotated[int, Field(ge=1, le=MAX_POINTS)] | None = None


class Earning(Section):
    base: Base = "amount"
    rounding: Rounding = Rounding()
    tax: Literal["included", "excluded"] = "included"
    """Whether the tax in a line's amount earns."""
    paid_with_points: Literal["nothing", "earns"] = "nothing"
    """Whether what was paid with points (tender `points`) earns."""
    maximum: Maximum = Maximum()
    rules: Annotated[list[Rule], Field(max_length=10_000)] = Field(default=[])
