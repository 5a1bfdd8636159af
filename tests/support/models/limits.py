"""What a programme lets a member spend, limit by limit in the order in which they refuse; it shares no code with the service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple

from tests.support.models.rules import Accepts, Rules, Spent, spent_today

ALL = 10**12
OF_BILLS = ("bill_total_required", "bill_share_exceeded", "bill_categories_required")
"""What is asked of who pays for a bill; a reward pays for none."""


@dataclass(frozen=True)
class Bill:
    """What a till says of a bill, in minor units."""

    total: int | None = None
    categories: dict[str, int] | None = None

    def body(self) -> dict[str, Any]:
        said = {"bill_total_minor": self.total, "bill_categories": self.categories}
        return {name: one for name, one in said.items() if one is not None}


class Limit(NamedTuple):
    """The most points that it leaves, or the most money where it is money that is limited."""

    code: str
    most: int
    most_minor: int | None = None

    def keeps(self, points: int, minor: int) -> bool:
        return points <= self.most if self.most_minor is None else minor <= self.most_minor


def limits_of(
    rules: Rules, sales: Iterable[Spent], now: datetime, *, terminal: str | None, bill: Bill, paid: int
) -> list[Limit]:
    """Of a wallet with these sales. `paid`: what points paid of the bill before, in minor units."""
    sales, found = list(sales), []
    if rules.accepts is not None:
        found.append(Limit("points_not_accepted", ALL if terminal in rules.accepts.terminals else 0))
    if rules.velocity is not None:
        within, most = rules.velocity
        made = sum(one.at > now - within for one in sales)
        found.append(Limit("velocity_exceeded", ALL if made < most else 0))
    if bill.total is not None:
        found.append(_share(rules, bill.total * (rules.share or 1), paid))
    elif rules.share is not None:
        found.append(Limit("bill_total_required", 0))
    if rules.accepts is not None:
        found.append(_accepted(rules, rules.accepts, bill, paid))
    if rules.daily is not None:
        found.append(Limit("period_limit_exceeded", max(rules.daily - spent_today(sales, now), 0)))
    return found


def most_of(rules: Rules, bill: Bill) -> int | None:
    """What points may pay of a bill, whoever pays, in minor units; None where nothing is said of it."""
    mosts = [] if bill.total is None else [int(bill.total * (rules.share or 1))]
    if rules.accepts is not None and bill.categories is not None:
        mosts.append(int(_payable(rules.accepts, bill)))
    return min(mosts, default=None)


def _accepted(rules: Rules, accepts: Accepts, bill: Bill, paid: int) -> Limit:
    if bill.categories is None:
        return Limit("bill_categories_required", 0)
    return _share(rules, _payable(accepts, bill), paid)


def _payable(accepts: Accepts, bill: Bill) -> Fraction:
    assert bill.categories is not None
    taken = sum(minor for category, minor in bill.categories.items() if category in accepts.categories)
    return (taken if bill.total is None else min(taken, bill.total)) * accepts.share


def _share(rules: Rules, cap: Fraction | int, paid: int) -> Limit:
    left = max(int(cap) - paid, 0)
    # The most points that are worth no more, a part of a minor unit dropped.
    return Limit("bill_share_exceeded", -(-(left + 1) // rules.minor) - 1, left)
