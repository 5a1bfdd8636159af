"""Where points are taken: which merchants, at which of their terminals, for which categories, up to what share."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from shared.errors import Refusal
from shared.programme.redeeming import Accepting, Redeeming


class PointsNotAccepted(Refusal):
    code = "points_not_accepted"


class BillCategoriesRequired(Refusal):
    code = "bill_categories_required"


class Place(msgspec.Struct, frozen=True):
    """Where points are spent; `categories`: what the bill has of each category in minor units, a line in one of them only;
    `paid_minor`: what points have paid of that bill already."""

    merchant: str
    terminal: str | None
    categories: tuple[tuple[str, int], ...] | None = None
    paid_minor: int = 0


class Bill(NamedTuple):
    """A bill that points of a programme pay for, by its merchant's reference."""

    programme: str
    merchant: str
    bill_ref: str


def objection(redeeming: Redeeming, merchant: str, terminal: str | None) -> PointsNotAccepted | None:
    """Why points are not taken at this terminal; None where they are."""
    if redeeming.acceptance is None:
        return None
    rule = redeeming.acceptance.get(merchant)
    if rule is None:
        return PointsNotAccepted(f"{merchant} takes no points of this programme.", pointer="/merchant")
    if rule.terminals is None or terminal in rule.terminals:
        return None
    if terminal is None:
        return PointsNotAccepted(
            f"Not every terminal of {merchant} takes points: name one that does.", pointer="/terminal"
        )
    return PointsNotAccepted(f"The terminal {terminal} of {merchant} takes no points.", pointer="/terminal")


def shares(redeeming: Redeeming, merchant: str) -> bool:
    """Whether points may pay for a part only of this merchant's bills."""
    rule = rule_of(redeeming, merchant)
    return redeeming.bill_share is not None or (
        rule is not None and (rule.share is not None or rule.categories is not None)
    )


def rule_of(redeeming: Redeeming, merchant: str) -> Accepting | None:
    """What the programme says of a merchant; None: nothing, or that it takes no points."""
    return None if redeeming.acceptance is None else redeeming.acceptance.get(merchant)


def payable(rule: Accepting, place: Place, bill_total_minor: int | None) -> int | None:
    """What of the bill points may pay for at most, in minor units; None where the bill was not said."""
    if rule.categories is not None:
        if place.categories is None:
            return None
        base = sum(amount for category, amount in place.categories if category in rule.categories)
        if bill_total_minor is not None:
            base = min(base, bill_total_minor)
    elif bill_total_minor is None:
        return None
    else:
        base = bill_total_minor
    numerator, denominator = rule.share or (1, 1)
    return base * numerator // denominator


def most_of_bill(redeeming: Redeeming, place: Place, bill_total_minor: int | None) -> int | None:
    """What points may pay of a bill at most whoever pays, in minor units; None where nothing was said of it."""
    mosts: list[int | None] = []
    if bill_total_minor is not None:
        numerator, denominator = redeeming.bill_share or (1, 1)
        mosts.append(bill_total_minor * numerator // denominator)
    rule = rule_of(redeeming, place.merchant)
    if rule is not None and (rule.share or rule.categories is not None):
        mosts.append(payable(rule, place, bill_total_minor))
    return min((most for most in mosts if most is not None), default=None)
