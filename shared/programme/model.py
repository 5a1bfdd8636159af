"""The programme document, version 1, as people write it.

Each section checks its own fields here; what needs several fields at once is in `validation`.
"""

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from shared.identity import payment_card_prefix
from shared.money import CURRENCIES, RoundingMode, decimal_ratio
from shared.programme.expiry import Expiry, Never
from shared.programme.holds import Hold

MAX_MINOR = 10**12
MAX_POINTS = 10**15
"""No single act moves more: the bank refuses it."""


def _known_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("it is not an ISO 4217 currency")
    return code


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("it is not an IANA time zone") from None
    return name


def _positive_decimal(text: str) -> str:
    if decimal_ratio(text)[0] == 0:
        raise ValueError("it must be above zero")
    return text


def _no_payment_prefix(prefix: str) -> str:
    if payment_card_prefix(prefix):
        raise ValueError("it lies in a payment card issuer's range, whose numbers are refused everywhere")
    return prefix


Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Locale = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Localized = Annotated[dict[Locale, Text], Field(min_length=1, max_length=100)]
PositiveDecimal = Annotated[str, AfterValidator(_positive_decimal)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)


class Header(_Section):
    """What the programme is, and in which money and time zone it counts."""

    code: Code
    name: Localized
    currency: Annotated[str, AfterValidator(_known_currency)]
    point_value: PositiveDecimal
    """Money per point, in major units."""
    time_zone: Annotated[str, AfterValidator(_known_zone)]
    """Every calendar decision (a day, a month end, a year) is taken in this zone."""
    card_prefix: Annotated[
        str, StringConstraints(pattern=r"^[0-9]{4,8}$"), AfterValidator(_no_payment_prefix)
    ]
    backdating_days: Annotated[int, Field(ge=0, le=36_500)] | Literal["unlimited"] = 30
    """How long ago a bill may have happened."""


class Rounding(_Section):
    mode: RoundingMode = "floor"
    at: Literal["line", "bill"] = "bill"
    when: Literal["before_multiplier", "after_multiplier"] = "after_multiplier"


class Match(_Section):
    """Which lines a rule is for: any of the categories, or every line when none are named."""

    categories: Annotated[list[Code], Field(min_length=1, max_length=1000)] | None = None


class Rate(_Section):
    """`points` per `per_minor` of money; with `whole_steps` only full steps count."""

    points: PositiveDecimal
    per_minor: Annotated[int, Field(ge=1, le=MAX_MINOR)]
    whole_steps: bool = False


class Rule(_Section):
    """One earning rule. The highest priority that matches a line decides it, ties by order in the document."""

    code: Code
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    match: Match = Match()
    action: Literal["earn", "skip"]
    timing: Literal["now", "hold"] = "now"
    hold: Hold | None = None
    """Until when the points of `timing: hold` are held; left out: until activation."""
    on_discounted: bool = True
    rate: Rate | None = None


class Earning(_Section):
    base: Literal["amount"] = "amount"
    rounding: Rounding = Rounding()
    rules: Annotated[list[Rule], Field(max_length=10_000)] = []
    refund_window_days: Annotated[int, Field(ge=0, le=36_500)] | Literal["unlimited"] = "unlimited"
    """Until the end of which day after the bill its refund still moves points, those that paid for it too."""


def _share(text: str) -> str:
    numerator, denominator = decimal_ratio(text)
    if not 0 < numerator <= denominator:
        raise ValueError("it must be above zero and at most 1")
    return text


class MemberLimit(_Section):
    """The most points that a member may spend in each day, week (from Monday) or month of the programme's time zone."""

    points: Annotated[int, Field(ge=1, le=MAX_POINTS)]
    per: Literal["day", "week", "month"]


class Velocity(_Section):
    """At most so many redemptions of a member within so many minutes, voided ones too."""

    redemptions: Annotated[int, Field(ge=1, le=10_000)]
    minutes: Annotated[int, Field(ge=1, le=44_640)]


class Redemption(_Section):
    consumption: Literal["oldest_earned", "earliest_expiry"] = "oldest_earned"
    """In which order lots are spent; with `earliest_expiry` those that never expire come last."""
    minimum_points: Annotated[int, Field(ge=1, le=MAX_MINOR)] = 1
    step_points: Annotated[int, Field(ge=1, le=MAX_MINOR)] = 1
    max_bill_share: Annotated[str, AfterValidator(_share)] | None = None
    """The most of a bill that points may pay for, as a decimal up to "1"; every redemption then says its bill's total."""
    member_limits: Annotated[list[MemberLimit], Field(max_length=3)] = []
    velocity: Annotated[list[Velocity], Field(max_length=5)] = []
    tiers: Annotated[list[Code], Field(min_length=1, max_length=100)] | None = None
    """The tiers that may spend; without it all may."""
    authorisation_minutes: Annotated[int, Field(ge=1, le=44_640)] = 15
    """How long points stay set aside for a redemption that is captured later."""
    return_days: Annotated[int, Field(ge=0, le=36_500)] | Literal["unlimited"] = 30
    """How long after its capture a redemption can be returned: so many times 24 hours."""
    restore: Literal["original", "renewed"] = "original"
    """Whether returned points keep the expiry of their lots, or get one as if they were earned anew."""
    on_spent: Literal["block", "partial", "debt"] = "block"
    """When points that a refund takes back are spent: nothing moves, what is left is taken, or the rest becomes debt."""


class AtLeast(_Section):
    gte: Annotated[int, Field(ge=1, le=MAX_MINOR)]


class Entry(_Section):
    """What it takes to reach a tier: qualifying points."""

    points: AtLeast


class Tier(_Section):
    """A step of the ladder. The first has no entry: everybody starts there."""

    code: Code
    name: Localized
    multiplier: PositiveDecimal = "1"
    entry: Entry | None = None


class Tiers(_Section):
    lifecycle: Literal["calendar_year", "lifetime"]
    metric: Literal["points"] = "points"
    ladder: Annotated[list[Tier], Field(min_length=1, max_length=100)]


class Programme(_Section):
    """A whole document. A draft may lack what only an active programme needs."""

    document: Literal[1]
    programme: Header
    earning: Earning | None = None
    redemption: Redemption | None = None
    expiry: Expiry = Never(policy="never")
    tiers: Tiers | None = None


NOT_YET: dict[str, frozenset[Any]] = {
    "base": frozenset({"item", "visit", "fixed"}),
    "policy": frozenset({"birth_month_end"}),
    "lifecycle": frozenset({"rolling", "fixed_period"}),
    "metric": frozenset({"spend", "visits", "custom"}),
}
"""Choices that the domain names and this version of the engine doesn't compute: refused in so many words."""
