"""Points of a captured redemption that come back: to the very lots they were taken from, last taken first.

All is counted from the beginning, never by differences: after n partial returns so many points have come back as one return of
the sum would have given, to the same lots. Of a return by money that is the floor of points x returned / paid.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec

from services.redeem.domain.expiring import wake
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Before, Posting
from services.redeem.domain.reserving import LotPart, Redemption, expire_at_once, lots_of
from services.redeem.domain.spending import Terms, posting_of
from shared.errors import CurrencyMismatch, Refusal
from shared.money import Money, money_of


class RedemptionNotCaptured(Refusal):
    code = "redemption_not_captured"


class ReturnWindowClosed(Refusal):
    code = "return_window_closed"


class ReturnTooMuch(Refusal):
    code = "return_too_much"


class ReturnConflict(Refusal):
    code = "return_conflict"


class ReturnTerms(Terms, Protocol):
    """What a programme's version says about returns, too."""

    def expires_at(self, effective_at: datetime, birth_month: int | None = None) -> datetime | None:
        """When points earned then by a member born in that month expire; None: never."""
        ...


class BackTo(msgspec.Struct, frozen=True):
    """Points that came back: taken from `lot_id` once, and now in `to_lot`."""

    lot_id: UUID
    to_lot: UUID
    points: int


class Returned(msgspec.Struct, frozen=True):
    """A return. `posting` is None where less than a point came back; `money_minor` is what it paid for. `woken`: what of the
    balance had ended before it by silence; `expired`: what of the return itself expired at once."""

    points: int
    money_minor: int
    posting: Posting | None
    lots: list[BackTo]
    expired: Posting | None
    woken: Posting | None = None


class Total(msgspec.Struct, frozen=True):
    """What of a redemption is to have come back in all: points, and minor units of what they paid for."""

    points: int
    money_minor: int


def asked(
    redemption: Redemption,
    *,
    points: int | None,
    money: Money | None,
    terms: Terms,
    window: timedelta | None,
    now: datetime,
) -> Total:
    """What is to have come back after a return of so many points, so much money, or (neither) of all that is left.

    Refuses redemption_not_captured, return_window_closed, return_too_much and currency_mismatch.
    """
    captured_at = redemption.captured_at
    if captured_at is None:
        raise RedemptionNotCaptured(
            f"The redemption is {redemption.status}; only a captured one is returned."
        )
    if window is not None and now > captured_at + window:
        raise ReturnWindowClosed(f"It could be returned until {captured_at + window:%Y-%m-%dT%H:%M:%SZ}.")
    left = redemption.captured_points - redemption.returned_points
    left_minor = redemption.captured_minor - redemption.returned_minor
    if money is not None:
        if money.currency != terms.currency:
            raise CurrencyMismatch(
                f"The programme counts in {terms.currency}, not {money.currency}.", pointer="/money/currency"
            )
        if money.amount_minor > left_minor:
            raise ReturnTooMuch(
                f"{money.amount_minor} were to be returned; {left_minor} are left to return.",
                pointer="/money/amount_minor",
            )
        return _by_money(redemption, redemption.returned_minor + money.amount_minor)
    if points is None:
        if not left and not left_minor:
            raise ReturnTooMuch("All of it has been returned.")
        return Total(redemption.captured_points, redemption.captured_minor)
    if points > left:
        raise ReturnTooMuch(
            f"{points} points were to be returned; {left} are left to return.", pointer="/points"
        )
    return _by_points(redemption, redemption.returned_points + points)


def refunded(redemption: Redemption, *, returned_minor: int, total_minor: int) -> Total:
    """What is to have come back when so much of the bill that it paid for was refunded in all; never less than has."""
    share = min(returned_minor, total_minor)
    return _by_points(
        redemption, max(redemption.captured_points * share // total_minor, redemption.returned_points)
    )


def give_back(
    wallet: Wallet,
    redemption: Redemption,
    total: Total,
    *,
    renewed: bool,
    terms: ReturnTerms,
    effective_at: datetime,
    now: datetime,
    new_id: Callable[[], UUID],
) -> Returned:
    """Posts what is missing to `total`, whatever the wallet's status. The wallet has the redemption's lots, and all its lots
    where it was left alone: what had ended by silence ends first, and what comes back lives under the new end.

    `renewed`: points that would live longer as if they were earned anew come into a new lot; others always into their own.
    """
    points = total.points - redemption.returned_points
    money_minor = total.money_minor - redemption.returned_minor
    assert points >= 0, (redemption.redemption_id, total)
    assert money_minor >= 0, (redemption.redemption_id, total)
    redemption.returned_points, redemption.returned_minor = total.points, total.money_minor
    if not points:
        return Returned(0, money_minor, None, [], None)
    woken = wake(wallet, at=effective_at, value=terms, new_id=new_id)
    lots, before, posting_id = lots_of(wallet), Before.of(wallet), new_id()
    lines, back, came_back = [], [], []
    left = points
    for part in reversed(redemption.lots):
        some = min(left, part.captured - part.returned)
        if not some:
            continue
        left -= some
        part.returned += some
        lot = _home(
            wallet, lots.get(part.lot_id), some, redemption, posting_id, renewed, terms, effective_at, new_id
        )
        came_back.append((lot, some))
        back.append(BackTo(part.lot_id, lot.lot_id, some))
        lines.append(
            wallet.move(
                "return",
                "redeemed",
                "available",
                some,
                posting_id=posting_id,
                money_minor=money_of(some, terms.point_value, terms.currency),
                lot_id=lot.lot_id,
                source_id=redemption.redemption_id,
                effective_at=effective_at,
            )
        )
    assert not left, (redemption.redemption_id, left)
    posting = posting_of(wallet, before, posting_id, "return", points, effective_at, lines)
    expired = expire_at_once(wallet, came_back, terms=terms, since=effective_at, now=now, new_id=new_id)
    return Returned(points, money_minor, posting, back, expired, woken)


def taken(lines: list[tuple[UUID, int]]) -> list[LotPart]:
    """What a plain redemption took of lots, from its lines: it was captured as it was made."""
    return [LotPart(lot_id, points, captured=points) for lot_id, points in lines]


def _home(
    wallet: Wallet,
    lot: Lot | None,
    points: int,
    redemption: Redemption,
    posting_id: UUID,
    renewed: bool,
    terms: ReturnTerms,
    effective_at: datetime,
    new_id: Callable[[], UUID],
) -> Lot:
    """Where points come back to: their lot; a new one if they are to live longer, or were in no lot (overdrawn: None)."""
    expires_at = terms.expires_at(effective_at, wallet.birth_month) if renewed or lot is None else None
    if lot is not None and not (
        renewed and lot.expires_at is not None and (expires_at is None or expires_at > lot.expires_at)
    ):
        wallet.shift(lot, "redeemed", "available", points)
        return lot
    home = Lot(
        lot_id=new_id(),
        wallet_id=wallet.wallet_id,
        accrual_id=posting_id,
        source_id=redemption.redemption_id,
        earned_at=effective_at,
        expires_at=expires_at,
        points=points,
        remaining=points,
        parent_lot=None if lot is None else lot.lot_id,
        idle_at=wallet.idle_at,
    )
    wallet.open(home)
    return home


def _by_points(redemption: Redemption, points: int) -> Total:
    if points == redemption.captured_points:
        return Total(points, redemption.captured_minor)
    worth = redemption.captured_minor * points // redemption.captured_points
    return Total(points, max(worth, redemption.returned_minor))


def _by_money(redemption: Redemption, minor: int) -> Total:
    if minor == redemption.captured_minor:
        return Total(redemption.captured_points, minor)
    points = redemption.captured_points * minor // redemption.captured_minor
    return Total(max(points, redemption.returned_points), minor)
