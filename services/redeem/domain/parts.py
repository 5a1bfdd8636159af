"""A part of what was set aside: how many points a capture takes, and what they pay for."""

from __future__ import annotations

from typing import Protocol

from services.redeem.domain.spending import Terms, check_amount
from shared.errors import AmountOutOfRange, CurrencyMismatch
from shared.money import Money, money_of, points_for


class SetAside(Protocol):
    """What was set aside, and what for."""

    @property
    def points(self) -> int: ...
    @property
    def money_minor(self) -> int: ...


def part_of(aside: SetAside, *, points: int | None, money: Money | None, terms: Terms) -> tuple[int, int]:
    """The points, and the minor units that they pay for: all of it where neither is said. Refuses currency_mismatch, and
    amount_out_of_range for more than was set aside and for a part that is below the minimum or no whole step."""
    if money is not None:
        if money.currency != terms.currency:
            raise CurrencyMismatch(
                f"The programme counts in {terms.currency}, not {money.currency}.", pointer="/money/currency"
            )
        if money.amount_minor > aside.money_minor:
            raise AmountOutOfRange(
                f"{money.amount_minor} were asked; {aside.money_minor} are authorised.",
                pointer="/money/amount_minor",
            )
        # The last points of an authorisation may be worth more than the money it was made for.
        taken = min(points_for(money.amount_minor, terms.point_value, terms.currency), aside.points)
        if taken < aside.points:
            check_amount(taken, terms, "/money/amount_minor")
        return taken, money.amount_minor
    if points is None or points == aside.points:
        return aside.points, aside.money_minor
    if points > aside.points:
        raise AmountOutOfRange(
            f"{points} points were asked; {aside.points} are authorised.", pointer="/points"
        )
    check_amount(points, terms, "/points")
    return points, min(aside.money_minor, money_of(points, terms.point_value, terms.currency))
