"""The earning section as people write it: rules, how their points are counted, and the most that a bill may earn.

docs/programme.md tells it to people; how rules become points is at the head of `rules`.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from shared.money import RoundingMode
from shared.programme.base import MAX_MINOR, MAX_POINTS, Code, Localized, PositiveDecimal, Section, Tree
from shared.programme.guards import Guards
from shared.programme.holds import Hold
from shared.shapes import Channel

Base = Literal["amount", "item", "visit", "fixed"]
Sku = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Brand = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Codes = Annotated[list[Code], Field(min_length=1, max_length=1000)]


Points = Annotated[int, Field(ge=1, le=MAX_POINTS)]
Stacking = Literal["best_only", "all", "exclusive"]
On = Literal["reported", "sign_up", "birthday", "referral"]
DataName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]


def _moment(text: str) -> str:
    instant(text)
    return text


def instant(text: str) -> datetime:
    """A time with its offset, in UTC. ValueError for anything else."""
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("it must be a time with its offset, as in 2026-11-22T11:31:04+03:00, or Z")


Moment = Annotated[str, StringConstraints(max_length=40), AfterValidator(_moment)]


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
    """Bills that were paid, in any part, with one of these; of points only those that this part of the amount earns count."""


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
    hold: Hold | None = None
    """Until when the points of `timing: hold` are held; left out: until activation."""
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

    bill: Points | None = None


class MemberCaps(Section):
    """The most points in a calendar day, week (from Monday), month or year of the programme, by when bills happened."""

    day: Points | None = None
    week: Points | None = None
    month: Points | None = None
    year: Points | None = None


class Steps(Section):
    """`points` for each full `per_minor` of what the lines of the campaign count."""

    points: Points
    per_minor: Annotated[int, Field(ge=1, le=MAX_MINOR)]


class Discount(Section):
    """Money off what the lines of a campaign come to: an amount, or a part of it; in the tiers named by_tier another one.
    Never more than these lines come to."""

    money_minor: Annotated[int, Field(ge=1, le=MAX_MINOR)] | None = None
    percent: PositiveDecimal | None = None
    """Above 0, at most 100. Floored to a minor unit."""
    money_by_tier: Annotated[
        dict[Code, Annotated[int, Field(ge=1, le=MAX_MINOR)]] | None, Field(min_length=1, max_length=100)
    ] = None
    percent_by_tier: Annotated[dict[Code, PositiveDecimal] | None, Field(min_length=1, max_length=100)] = None
    most_minor: Annotated[int, Field(ge=1, le=MAX_MINOR)] | None = None
    """The most of one bill."""


class FreeItem(Section):
    """An item that the member need not pay. `value_minor`: what it is worth, for the budget and the choice of the best."""

    sku: Sku
    value_minor: Annotated[int, Field(ge=1, le=MAX_MINOR)]


class IssuedReward(Section):
    """A reward that the bank issues to the member, at no price. `value_minor` as of a free item."""

    reward: Code
    value_minor: Annotated[int, Field(ge=1, le=MAX_MINOR)]


class Effect(Section):
    """What a campaign gives: exactly one of these. The last three are given at the checkout, and are no points."""

    multiplier: PositiveDecimal | None = None
    """Above 1: "2" doubles."""
    bonus: Points | None = None
    """So many points, once a bill."""
    steps: Steps | None = None
    discount: Discount | None = None
    free_item: FreeItem | None = None
    issue: IssuedReward | None = None

    @property
    def at_checkout(self) -> bool:
        """Whether it gives something else than points."""
        return self.multiplier is None and self.bonus is None and self.steps is None


class Arm(Section):
    """A part of the members, in ten-thousandths. The control arm gets nothing; another arm may have its own effect."""

    code: Code
    share: Annotated[int, Field(ge=1, le=10_000)]
    control: bool = False
    effect: Effect | None = None


class Recurring(Section):
    """Windows that come again: RFC 5545 days from `starts_at` on, each from `at` (local time) for so many minutes."""

    rrule: Annotated[str, StringConstraints(max_length=200)]
    at: Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "00:00"
    minutes: Annotated[int, Field(ge=1, le=44_640)]


class Budget(Section):
    """The most that a campaign gives in all: exactly one of these."""

    points: Annotated[int, Field(ge=0, le=MAX_POINTS)] | None = None
    money_minor: Annotated[int, Field(ge=0, le=MAX_POINTS)] | None = None


class Campaign(Section):
    """Points besides those of the rules, or something at the checkout, for a time."""

    code: Code
    name: Localized | None = None
    starts_at: Moment
    ends_at: Moment
    """The first instant at which it is over."""
    recurring: Recurring | None = None
    match: Match = Match()
    exclude: Match | None = None
    """Lines that it does not count, although they match."""
    when: Tree | None = None
    effect: Effect
    on: Literal["base", "with_tier"] = "base"
    """Whether a multiplier multiplies the points before or after the tier's rate."""
    arms: Annotated[list[Arm], Field(min_length=2, max_length=10)] | None = None
    stacking: Stacking = "best_only"
    member_caps: MemberCaps | None = None
    budget: Budget | None = None


class StampCard(Section):
    """So many `stamps`, by item or by visit, issue a reward, and the card starts anew."""

    code: Code
    name: Localized | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    """The first instant at which no stamp is given any more."""
    match: Match = Match()
    exclude: Match | None = None
    when: Tree | None = None
    count: Literal["item", "visit"] = "item"
    """One for each whole item of the lines that it counts, or one for a bill that has such a line."""
    stamps: Annotated[int, Field(ge=2, le=1000)]
    most_per_bill: Annotated[int, Field(ge=1, le=100)] = 20
    """The most stamps of one bill."""
    reward: Code
    """What is issued, at no price."""


class ActRate(Section):
    """`points` per `per` of the whole number that the act's data has under the name `of`."""

    points: PositiveDecimal
    per: Annotated[int, Field(ge=1, le=10**12)] = 1
    of: DataName


class ReferralPoints(Section):
    """What the one gets who told a friend, and what the friend gets."""

    referrer: Points
    referred: Points


class ActType(Section):
    """An act that earns besides bills. Exactly one of `points`, `rate` and `points_each`; a rate has a `maximum`."""

    code: Code
    name: Localized | None = None
    on: On = "reported"
    """Who tells of it: `reported` by HTTP or stream; `sign_up` comes of itself with the wallet, once; `birthday`
    on the member's birthday, once a year; `referral` when the first bill of a referred member reaches the minimum, for
    both, once."""
    points: Points | None = None
    points_each: ReferralPoints | None = None
    """Of a referral: different points for the two; `points` gives both the same."""
    minimum_minor: Annotated[int, Field(ge=0, le=10**12)] | None = None
    """Of a referral: what the first bill has to come to, in minor units of the programme's currency."""
    rate: ActRate | None = None
    when: Tree | None = None
    maximum: Points | None = None
    """The most points that one such act gives."""
    member_caps: MemberCaps | None = None
    budget: Budget | None = None
    data: dict[str, Any] | None = None
    """The JSON Schema (2020-12) of the act's data, an object. Without it an act of this type has no data."""


class Earning(Section):
    base: Base = "amount"
    rounding: Rounding = Rounding()
    tax: Literal["included", "excluded"] = "included"
    """Whether the tax in a line's amount earns."""
    paid_with_points: Literal["nothing", "earns"] = "nothing"
    """Whether what was paid with points (tender `points`) earns."""
    maximum: Maximum = Maximum()
    member_caps: MemberCaps | None = None
    """The most points that a member earns of rules and campaigns together."""
    rules: Annotated[list[Rule], Field(max_length=10_000)] = Field(default=[])
    campaigns: Annotated[list[Campaign], Field(max_length=1000)] = Field(default=[])
    guards: Guards | None = None
    """What is odd about a bill; without it nothing is looked for."""
    stamp_cards: Annotated[list[StampCard], Field(max_length=100)] = Field(default=[])
    acts: Annotated[list[ActType], Field(max_length=1000)] = Field(default=[])
    """What earns besides bills."""
    refund_window_days: Annotated[int, Field(ge=0, le=36_500)] | Literal["unlimited"] = "unlimited"
    """Until the end of which day after the bill its refund still moves points, those that paid for it too."""
