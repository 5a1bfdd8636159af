"""The programme document, version 1, as people write it.

Each section checks its own fields here; what needs several fields at once is in `validation`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from shared.money import decimal_ratio
from shared.programme.adjusting import Adjustments
from shared.programme.base import (
    MAX_MINOR,
    MAX_POINTS,
    CardPrefix,
    Code,
    Currency,
    Locale,
    Localized,
    PositiveDecimal,
    Text,
    TimeZone,
    Tree,
)
from shared.programme.base import Section as _Section
from shared.programme.earning import Earning, Rule
from shared.programme.expiry import Expiry, Never
from shared.programme.gift_cards import GiftCards

__all__ = ["MAX_MINOR", "MAX_POINTS", "Code", "Locale", "Localized", "Rule", "Text"]

Per = Literal["day", "week", "month"]
OnSpent = Literal["block", "partial", "debt"]
Lifecycle = Literal["calendar_year", "lifetime"]


class Header(_Section):
    """What the programme is, and in which money and time zone it counts."""

    code: Code
    name: Localized
    currency: Currency
    point_value: PositiveDecimal
    """Money per point, in major units."""
    accepts: Annotated[list[Currency], Field(max_length=200)] = Field(default=[])
    """Other currencies in which bills are taken, at the rate of when they happened (`POST /v1/currency-rates`)."""
    time_zone: TimeZone
    """Every calendar decision (a day, a month end, a year) is taken in this zone."""
    card_prefix: CardPrefix
    backdating_days: Annotated[int, Field(ge=0, le=36_500)] | Literal["unlimited"] = 30
    """How long ago a bill may have happened."""
    closed: bool = False
    """Nothing is earned, redeemed, joined or loaded while the newest version says so. Closing a programme drafts that version."""


def _share(text: str) -> str:
    numerator, denominator = decimal_ratio(text)
    if not 0 < numerator <= denominator:
        raise ValueError("it must be above zero and at most 1")
    return text


class MemberLimit(_Section):
    """The most points that a member may spend in each day, week (from Monday) or month of the programme's time zone."""

    points: Annotated[int, Field(ge=1, le=MAX_POINTS)]
    per: Per


class Velocity(_Section):
    """At most so many redemptions of a member within so many minutes, voided ones too."""

    redemptions: Annotated[int, Field(ge=1, le=10_000)]
    minutes: Annotated[int, Field(ge=1, le=44_640)]


class Acceptance(_Section):
    """What of a merchant takes points. Together with `max_bill_share` the smaller share holds."""

    merchant: Code
    terminals: Annotated[list[Code], Field(min_length=1, max_length=1_000)] | None = None
    """The terminals that take points; without it all do, and a redemption need not name one."""
    categories: Annotated[list[Code], Field(min_length=1, max_length=1_000)] | None = None
    """The categories whose lines points may pay for; every redemption then says its bill's `categories`."""
    max_bill_share: Annotated[str, AfterValidator(_share)] | None = None
    """The most that points may pay of the bill, or of what it has of these categories."""


class Offline(_Section):
    """What a till may let a member spend while it can't ask: see docs/offline.md."""

    points: Annotated[int, Field(ge=1, le=MAX_POINTS)]
    """The most that one allowance, of one member at one terminal, is good for."""
    hours: Annotated[int, Field(ge=1, le=720)] = 24
    """How long points may be spent on it, from when it was given."""
    report_days: Annotated[int, Field(ge=0, le=366)] = 7
    """How long after its end what was spent may still be reported: so many times 24 hours."""


class Redemption(_Section):
    consumption: Literal["oldest_earned", "earliest_expiry"] = "oldest_earned"
    """In which order lots are spent; with `earliest_expiry` those that never expire come last."""
    minimum_points: Annotated[int, Field(ge=1, le=MAX_MINOR)] = 1
    step_points: Annotated[int, Field(ge=1, le=MAX_MINOR)] = 1
    max_bill_share: Annotated[str, AfterValidator(_share)] | None = None
    """The most of a bill that points may pay for, as a decimal up to "1"; every redemption then says its bill's total."""
    member_limits: Annotated[list[MemberLimit], Field(max_length=3, default_factory=list)]
    velocity: Annotated[list[Velocity], Field(max_length=5, default_factory=list)]
    tiers: Annotated[list[Code], Field(min_length=1, max_length=100)] | None = None
    """The tiers that may spend; without it all may."""
    acceptance: Annotated[list[Acceptance], Field(min_length=1, max_length=10_000)] | None = None
    """The merchants that take points; without it all do, at every terminal and for everything."""
    authorisation_minutes: Annotated[int, Field(ge=1, le=44_640)] = 15
    """How long points stay set aside for a redemption that is captured later."""
    return_days: Annotated[int, Field(ge=0, le=36_500)] | Literal["unlimited"] = 30
    """How long after its capture a redemption can be returned: so many times 24 hours."""
    restore: Literal["original", "renewed"] = "original"
    """Whether returned points keep the expiry of their lots, or get one as if they were earned anew."""
    on_spent: OnSpent = "block"
    """When points that a refund takes back are spent: nothing moves, what is left is taken, or the rest becomes debt."""
    offline: Offline | None = None
    """Without it no till spends points that it can't ask for."""


class AtLeast(_Section):
    gte: Annotated[int, Field(ge=1, le=MAX_MINOR)]


class Entry(_Section):
    """What it takes to reach a tier: qualifying points, a condition (see `ladder`), or both."""

    points: AtLeast | None = None
    when: Tree | None = None


class Tier(_Section):
    """A step of the ladder. The first has no entry: everybody starts there."""

    code: Code
    name: Localized
    multiplier: PositiveDecimal = "1"
    entry: Entry | None = None


class Tiers(_Section):
    lifecycle: Lifecycle
    metric: Literal["points"] = "points"
    ladder: Annotated[list[Tier], Field(min_length=1, max_length=100)]


class Programme(_Section):
    """A whole document. A draft may lack what only an active programme needs."""

    document: Literal[1]
    programme: Header
    earning: Earning | None = None
    redemption: Redemption | None = None
    adjustments: Adjustments | None = None
    expiry: Expiry = Never(policy="never")
    tiers: Tiers | None = None
    gift_cards: GiftCards | None = None


NOT_YET: dict[str, frozenset[Any]] = {
    "lifecycle": frozenset({"rolling", "fixed_period"}),
    "metric": frozenset({"spend", "visits", "custom"}),
}
"""Choices that the domain names and this version of the engine doesn't compute: refused in so many words."""
