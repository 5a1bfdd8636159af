"""What a redemption would take and cost now, and the most that can be spent: the decisions of a redemption, on a copy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain.acceptance import Place
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.limits import OF_BILLS, Facts, Limit, LimitedTerms, check_limits, largest, limits
from services.redeem.domain.posting import most_points
from services.redeem.domain.spendable import spendable
from services.redeem.domain.spending import InsufficientPoints, WalletBlocked, redeem
from shared.errors import AmountOutOfRange, Refusal
from shared.money import Money, money_of


class Taken(msgspec.Struct, frozen=True):
    """Points that would be taken from a lot."""

    lot_id: UUID
    points: int
    expires_at: datetime | None


class Quote(msgspec.Struct, frozen=True):
    """`points` and `takes` are of the redemption that was asked for, or nothing; `refusal` is what it would be refused with.

    `most` is the most that could be spent, and `binding` says of each limit whether it is one that keeps it from more.
    """

    points: int | None
    takes: list[Taken]
    refusal: Refusal | None
    most: int
    limits: list[tuple[Limit, bool]]


def quote(
    wallet: Wallet,
    terms: LimitedTerms,
    facts: Facts,
    *,
    points: int | None,
    money: Money | None,
    refused: Refusal | None,
    bill_total_minor: int | None,
    now: datetime,
    place: Place | None = None,
    reward: bool = False,
    new_id: Callable[[], UUID],
) -> Quote:
    """Decides as a redemption would; of a `reward` without what is asked of a bill, and without minimum and step.
    `points` is its price, None where none was asked or it has none: then `refused` says why.

    The wallet is a copy, and is spent from; it has the lots that a redemption needs.
    """
    found = list(
        _all_limits(
            wallet, terms, facts, bill_total_minor=bill_total_minor, now=now, place=place, reward=reward
        )
    )
    most = min(limit.most for limit in found)
    most = most if reward else largest(terms, most)
    bound = min(limit.most for limit in found)
    shown = [(limit, limit.most == bound) for limit in found]
    takes: list[Taken] = []
    if points is not None:
        pointer = "/points" if money is None else "/money/amount_minor"
        pointer = "/reward" if reward else pointer
        paid = money_of(points, terms.point_value, terms.currency) if money is None else money.amount_minor
        try:
            if wallet.status == "active":
                ruled = limits(terms, facts, bill_total_minor=bill_total_minor, now=now, place=place)
                ruled = (one for one in ruled if not reward or one.refusal not in OF_BILLS)
                check_limits(ruled, points=points, money_minor=paid, pointer=pointer)
            expiries = {lot.lot_id: lot.expires_at for lot in wallet.lots}
            spent = redeem(
                wallet,
                points=points,
                pointer=pointer,
                terms=terms,
                now=now,
                redemption_id=new_id(),
                new_id=new_id,
            ).spent
            takes = [
                Taken(line.lot_id, line.points, expiries[line.lot_id])
                for line in spent.lines
                if line.lot_id is not None
            ]
        except Refusal as refusal:
            refused = refusal
    return Quote(points, takes, refused, most, shown)


def _all_limits(
    wallet: Wallet,
    terms: LimitedTerms,
    facts: Facts,
    *,
    bill_total_minor: int | None,
    now: datetime,
    place: Place | None,
    reward: bool,
) -> list[Limit]:
    """The programme's, the wallet's own, and what one act may move at most."""
    there = spendable(wallet, now)
    found = list(limits(terms, facts, bill_total_minor=bill_total_minor, now=now, place=place))
    if reward:
        found = [one for one in found if one.refusal not in OF_BILLS]
    if wallet.status != "active":
        found.insert(
            0, Limit(WalletBlocked, 0, f"The wallet is {wallet.status}; nothing can be spent from it.")
        )
    found.append(Limit(InsufficientPoints, there, f"The wallet has {there} available points."))
    if there > (most := most_points(terms)):
        found.append(Limit(AmountOutOfRange, most, f"An act moves at most {most} points."))
    bound = min(limit.most for limit in found)
    if not reward and bound and largest(terms, bound) < bound:
        least, step = terms.minimum_points, terms.step_points
        detail = f"Points are spent in steps of {step}, {least} at least."
        found.append(Limit(AmountOutOfRange, largest(terms, bound), detail))
    return found
