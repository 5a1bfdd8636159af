"""What a programme lets a member spend now: tiers, velocity, a share of the bill, so much in a day, week or month.

A limit says the most that it leaves. What was spent is counted under the wallet's lock, so limits are exact: of two
redemptions at once the second counts the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from services.redeem.domain import acceptance
from services.redeem.domain.acceptance import BillCategoriesRequired, Place, PointsNotAccepted
from services.redeem.domain.rewards import standing_of
from services.redeem.domain.spending import MOST_POINTS, Terms
from shared.errors import FieldError, Refusal
from shared.programme.days import period_start
from shared.programme.redeeming import Accepting, Redeeming


class TierNotEligible(Refusal):
    code = "tier_not_eligible"


class VelocityExceeded(Refusal):
    code = "velocity_exceeded"


class BillTotalRequired(Refusal):
    code = "bill_total_required"


class BillShareExceeded(Refusal):
    code = "bill_share_exceeded"


class PeriodLimitExceeded(Refusal):
    code = "period_limit_exceeded"


OF_BILLS = (BillTotalRequired, BillShareExceeded, BillCategoriesRequired)
"""What is asked of who pays for a bill; a reward pays for none."""


class Step(Protocol):
    """A tier of the ladder."""

    @property
    def code(self) -> str: ...


class LimitedTerms(Terms, Protocol):
    """What a programme's version says about who may spend how much."""

    @property
    def redeeming(self) -> Redeeming: ...
    @property
    def zone(self) -> ZoneInfo: ...
    @property
    def ladder(self) -> Sequence[Step]: ...
    @property
    def minor_per_point(self) -> tuple[int, int]: ...


class Spent(msgspec.Struct):
    """What a wallet spent or has set aside since some moment, less what was returned; and how many redemptions it made."""

    points: int = 0
    redemptions: int = 0


class Facts(msgspec.Struct):
    """What limits are counted from: `spent` since each of `moments`, and the standing that tiers told last."""

    spent: list[Spent] = []
    tier: str | None = None
    until: datetime | None = None
    sequence: int | None = None
    """The place of that word among the events about the wallet."""

    def count(self, points: int) -> None:
        """One more redemption, now."""
        for one in self.spent:
            one.points += points
            one.redemptions += 1


class Limit(msgspec.Struct, frozen=True):
    """The most points that this limit leaves, what is refused beyond them, and why. `most_minor`: the most money, where it is
    money that is limited."""

    refusal: type[Refusal]
    most: int
    detail: str
    most_minor: int | None = None
    field: str | None = None
    """The field that is to blame whatever the amount."""


def moments(terms: LimitedTerms, now: datetime) -> list[datetime]:
    """Since when it must be known what was spent: of each limit by period, then of each cap on velocity."""
    redeeming = terms.redeeming
    return [
        *(period_start(per, now, terms.zone) for per, _ in redeeming.member_limits),
        *(now - within + timedelta(microseconds=1) for within, _ in redeeming.velocity),
    ]


def limits(
    terms: LimitedTerms,
    facts: Facts,
    *,
    bill_total_minor: int | None,
    now: datetime,
    place: Place | None = None,
) -> Iterator[Limit]:
    """Every limit that the programme sets, in the order in which they refuse."""
    redeeming = terms.redeeming
    if place is not None and redeeming.acceptance is not None:
        no = acceptance.objection(redeeming, place.merchant, place.terminal)
        where = no.errors[0].pointer if no is not None else None
        detail = no.detail if no is not None else "Points are accepted here."
        yield Limit(PointsNotAccepted, 0 if no is not None else MOST_POINTS, detail, field=where)
    if redeeming.tiers is not None:
        tier = tier_of(terms, facts, now)
        eligible = tier in redeeming.tiers
        who = "every tier" if not redeeming.tiers else ", ".join(sorted(redeeming.tiers))
        detail = f"Points are spent in {who}; the member is in {tier or 'none'}."
        yield Limit(TierNotEligible, MOST_POINTS if eligible else 0, detail)
    counted = iter(facts.spent)
    by_period = [next(counted) for _ in redeeming.member_limits]
    for (within, most), spent in zip(redeeming.velocity, counted, strict=True):
        minutes = int(within.total_seconds()) // 60
        detail = (
            f"A member makes at most {most} redemptions in {minutes} minutes; {spent.redemptions} were made."
        )
        yield Limit(VelocityExceeded, MOST_POINTS if spent.redemptions < most else 0, detail)
    yield from _share(terms, bill_total_minor, place.paid_minor if place is not None else 0)
    if place is not None and (rule := acceptance.rule_of(redeeming, place.merchant)) is not None:
        yield from _accepted(terms, rule, place, bill_total_minor)
    for (per, most), spent in zip(redeeming.member_limits, by_period, strict=True):
        left = max(most - spent.points, 0)
        detail = (
            f"A member spends at most {most} points in a {per}; {spent.points} are spent, {left} are left."
        )
        yield Limit(PeriodLimitExceeded, left, detail)


def check_limits(found: Iterator[Limit], *, points: int, money_minor: int, pointer: str) -> None:
    """Raises the refusal of the first limit that is exceeded by these points, which pay for so much money."""
    for limit in found:
        over = points > limit.most if limit.most_minor is None else money_minor > limit.most_minor
        if over:
            where = limit.field or pointer
            raise limit.refusal(limit.detail, errors=[FieldError(where, limit.refusal.code, limit.detail)])


def largest(terms: Terms, most: int) -> int:
    """The largest number of points that can be asked for, up to `most`: whole steps, and 0 below the least."""
    whole = most - most % terms.step_points
    return whole if whole >= terms.minimum_points else 0


def _share(terms: LimitedTerms, bill_total_minor: int | None, paid_minor: int) -> Iterator[Limit]:
    share = terms.redeeming.bill_share
    if bill_total_minor is None:
        if share is not None:
            detail = "Points pay for a share of a bill only: say what the bill comes to, in bill_total_minor."
            yield Limit(BillTotalRequired, 0, detail, field="/bill_total_minor")
        return
    numerator, denominator = share or (1, 1)
    cap = bill_total_minor * numerator // denominator
    detail = f"Points pay for at most {cap} of this bill of {bill_total_minor}{_paid(paid_minor)}."
    yield _within(terms, cap - paid_minor, detail)


def _accepted(
    terms: LimitedTerms, rule: Accepting, place: Place, bill_total_minor: int | None
) -> Iterator[Limit]:
    """What this merchant takes points for, and up to what share."""
    if rule.categories is None and rule.share is None:
        return
    cap = acceptance.payable(rule, place, bill_total_minor)
    if cap is not None:
        detail = f"{place.merchant} takes points for at most {cap} of this bill{_paid(place.paid_minor)}."
        yield _within(terms, cap - place.paid_minor, detail)
    elif rule.categories is not None:
        detail = f"{place.merchant} takes points for some categories only: say what the bill has of each, in bill_categories."
        yield Limit(BillCategoriesRequired, 0, detail, field="/bill_categories")
    elif terms.redeeming.bill_share is None:  # otherwise it is wanted already
        detail = f"{place.merchant} takes points for a share of a bill only: say what it comes to, in bill_total_minor."
        yield Limit(BillTotalRequired, 0, detail, field="/bill_total_minor")


def _paid(paid_minor: int) -> str:
    return f"; {paid_minor} are paid with points already" if paid_minor else ""


def _within(terms: LimitedTerms, left: int, detail: str) -> Limit:
    """What is left of what points may pay for, in minor units."""
    left = max(left, 0)
    return Limit(BillShareExceeded, _worth_at_most(terms, left), detail, most_minor=left)


def _worth_at_most(terms: LimitedTerms, cap: int) -> int:
    """The most points that are worth no more than the cap, a part of a minor unit dropped."""
    per, over = terms.minor_per_point
    return min(((cap + 1) * over - 1) // per, MOST_POINTS)


def tier_of(terms: LimitedTerms, facts: Facts, now: datetime) -> str | None:
    """The tier that counts."""
    told = (facts.tier, facts.until) if facts.tier is not None else None
    return standing_of(told, [step.code for step in terms.ladder], now)
