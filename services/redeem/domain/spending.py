"""What is decided over a wallet when points are earned, and when they are spent.

A decision either posts to the wallet it is given, or raises its refusal before anything has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from services.redeem.domain.expiring import consumption_order, expire
from services.redeem.domain.ledger import Bucket, Kind, Line, Lot, Wallet
from services.redeem.domain.posting import Before, Posting, check_worth
from services.redeem.domain.spendable import spendable
from shared.errors import AmountOutOfRange, CurrencyMismatch, FieldError, FieldType, Refusal
from shared.events import PointsAccrued
from shared.money import Money, money_of, points_for
from shared.programme.model import MAX_POINTS

MOST_POINTS = MAX_POINTS
"""No single act moves more: far above any bill, far below what the columns hold."""


class InsufficientPoints(Refusal):
    code = "insufficient_points"


class WalletBlocked(Refusal):
    code = "wallet_blocked"


class AccrualMismatch(Refusal):
    code = "total_mismatch"


class Terms(Protocol):
    """What a programme's version says about spending."""

    @property
    def code(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def point_value(self) -> str: ...
    @property
    def consumption(self) -> str: ...
    @property
    def minimum_points(self) -> int: ...
    @property
    def step_points(self) -> int: ...


class Redeemed(msgspec.Struct, frozen=True):
    """A redemption that was posted, and what had to be expired on touch before it."""

    spent: Posting
    expired: Posting | None


_EARNED: dict[str, tuple[Kind, Bucket]] = {"earn": ("earn", "available"), "earn_held": ("earn_held", "held")}


def objection(accrual: PointsAccrued) -> Refusal | None:
    """What is wrong with an accrual whatever the wallet; None for one that can be credited."""
    if accrual.kind not in _EARNED:
        return FieldType("An accrual is of kind earn or earn_held.", pointer="/kind")
    points = [lot.points for lot in accrual.lots]
    if not points or min(points) <= 0 or max(points) > MOST_POINTS:
        return AmountOutOfRange(f"An accrual has lots of 1 to {MOST_POINTS} points.", pointer="/lots")
    total = sum(points)
    if total != accrual.points:
        return AccrualMismatch(f"points is {accrual.points}, the lots add up to {total}.", pointer="/points")
    return None


def credit(wallet: Wallet, accrual: PointsAccrued) -> Posting:
    """Posts an accrual without objection: one lot and one line for each of its lots. Whatever the wallet's status."""
    kind, bucket = _EARNED[accrual.kind]
    before, held, lines = Before.of(wallet), bucket == "held", []
    for lot in accrual.lots:
        points = lot.points
        wallet.open(
            Lot(
                lot_id=lot.lot_id,
                wallet_id=wallet.wallet_id,
                accrual_id=accrual.accrual_id,
                source_id=accrual.source_id,
                earned_at=accrual.effective_at,
                expires_at=lot.expires_at,
                points=points,
                remaining=points,
                held=points if held else 0,
            )
        )
        lines.append(
            wallet.move(
                kind,
                "issued",
                bucket,
                points,
                posting_id=accrual.accrual_id,
                money_minor=money_of(points, accrual.point_value, accrual.currency),
                lot_id=lot.lot_id,
                source_id=accrual.source_id,
                effective_at=accrual.effective_at,
            )
        )
    return posting_of(wallet, before, accrual.accrual_id, kind, accrual.points, accrual.effective_at, lines)


def check_amount(points: int, terms: Terms, pointer: str) -> None:
    """Refuses, as amount_out_of_range, less than the programme's minimum and a part of its step."""
    if points < terms.minimum_points:
        raise AmountOutOfRange(
            f"{points} points were asked; the least is {terms.minimum_points}.", pointer=pointer
        )
    if points % terms.step_points:
        below = points - points % terms.step_points
        raise AmountOutOfRange(
            f"{points} points were asked; they are spent in steps of {terms.step_points}: "
            f"{f'{below} or ' if below >= terms.minimum_points else ''}{below + terms.step_points}.",
            pointer=pointer,
        )


def price(terms: Terms, *, points: int | None = None, money: Money | None = None) -> int:
    """The points that a redemption takes: those asked for, or those that pay for `money`, rounded up.

    Refuses currency_mismatch, and amount_out_of_range for less than the minimum or a part of a step.
    """
    pointer = "/points"
    if points is None:
        assert money is not None
        if money.currency != terms.currency:
            raise CurrencyMismatch(
                f"The programme counts in {terms.currency}, not {money.currency}.", pointer="/money/currency"
            )
        points = points_for(money.amount_minor, terms.point_value, terms.currency)
        pointer = "/money/amount_minor"
    if points > MOST_POINTS:
        raise AmountOutOfRange(f"{points} points were asked; the most is {MOST_POINTS}.", pointer=pointer)
    check_amount(points, terms, pointer)
    return points


def redeem(
    wallet: Wallet,
    *,
    points: int,
    pointer: str,
    terms: Terms,
    now: datetime,
    redemption_id: UUID,
    new_id: Callable[[], UUID],
) -> Redeemed:
    """Spends points now, lot by lot in the programme's order; lots past their expiry are expired first, never spent.

    The wallet's lots must hold all that are past their expiry, and the first in order that make up `points`.
    `pointer` is where the points were asked. Refuses what `check_spendable` does.
    """
    check_spendable(wallet, points=points, pointer=pointer, terms=terms, now=now)
    expired = expire(wallet, terms=terms, now=now, new_id=new_id)
    before, posting_id, lines = Before.of(wallet), new_id(), []
    for lot, taken in consume(wallet.lots, points, consumption_order(terms.consumption)):
        wallet.take(lot, taken)
        lines.append(
            wallet.move(
                "redeem",
                "available",
                "redeemed",
                taken,
                posting_id=posting_id,
                money_minor=money_of(taken, terms.point_value, terms.currency),
                lot_id=lot.lot_id,
                source_id=redemption_id,
                effective_at=now,
            )
        )
    return Redeemed(posting_of(wallet, before, posting_id, "redeem", points, now, lines), expired)


def check_spendable(wallet: Wallet, *, points: int, pointer: str, terms: Terms, now: datetime) -> None:
    """Refuses wallet_blocked and insufficient_points for so many points now; lots past their expiry count for nothing. What is
    there and worth more than a line holds is amount_out_of_range."""
    if wallet.status != "active":
        raise WalletBlocked(f"The wallet is {wallet.status}; nothing can be spent from it.")
    there = spendable(wallet, now)
    if points > there:
        raise InsufficientPoints(
            f"The wallet has {there} available points; {points} were asked. "
            + (f"Ask for {there} or fewer." if there else "There is nothing to spend."),
            errors=[
                FieldError(pointer, InsufficientPoints.code, f"{points} is more than the {there} available.")
            ],
        )
    check_worth(points, terms, pointer)


def consume(lots: list[Lot], points: int, order: Callable[[Lot], Any]) -> Iterator[tuple[Lot, int]]:
    """How so many points are taken from usable lots, in this order; take each part before the next is asked for."""
    for lot in sorted([lot for lot in lots if lot.remaining > lot.held + lot.reserved], key=order):
        taken = min(points, lot.usable)
        yield lot, taken
        points -= taken
        if not points:
            return
    raise AssertionError(f"the loaded lots lack {points} points")


def posting_of(
    wallet: Wallet,
    before: Before,
    posting_id: UUID,
    kind: Kind,
    points: int,
    effective_at: datetime,
    lines: list[Line],
    *,
    silenced_by: int | None = None,
) -> Posting:
    """A posting of these lines, which just were moved."""
    return Posting(
        posting_id,
        kind,
        points,
        effective_at,
        tuple(lines),
        before,
        wallet.available,
        wallet.held,
        wallet.reserved,
        silenced_by,
    )
