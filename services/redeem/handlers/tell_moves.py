"""What is told of points that nobody spent, and noted for the audit."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from services.redeem.domain.ledger import Line, Lot, Wallet
from services.redeem.domain.posting import Posting, Value
from services.redeem.domain.reversing import BLOCKED, Blocked, Reversal
from shared.events import (
    Balance,
    PointsReleased,
    PointsRepaid,
    PointsReversed,
    ReleaseRequested,
    ReversalRefused,
    ReversalRequested,
    TakenLot,
)
from shared.events import Lot as ToldLot
from shared.messaging import Item, Tx
from shared.money import Money, Worth, money_of, worth


def tell_released(
    tx: Tx,
    item: Item[Any],
    asked: ReleaseRequested,
    wallet: Wallet,
    posting: Posting | None,
    rate: Value,
    *,
    released_through: int,
) -> None:
    """The answer to a release, also where nothing had to move."""
    tx.emit(
        PointsReleased(
            posting_id=posting.posting_id if posting else None,
            request_id=asked.request_id,
            accrual_id=asked.accrual_id,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            effective_at=asked.effective_at,
            posted_at=posting.posted_at if posting else None,
            released=worth_of(posting.points if posting else 0, rate),
            released_through=released_through,
            lots=taken(posting),
            balance=balance(posting or wallet, rate),
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.release", item, wallet, posting, asked=asked.request_id)


def tell_reversed(
    tx: Tx,
    item: Item[Any],
    asked: ReversalRequested,
    wallet: Wallet,
    came: Reversal,
    *,
    reversed_through: int,
) -> None:
    """The answer to a reversal, also where nothing had to move."""
    posting = came.posting
    tx.emit(
        PointsReversed(
            posting_id=posting.posting_id if posting else None,
            request_id=asked.request_id,
            refund_id=asked.refund_id,
            bill_id=asked.bill_id,
            accrual_id=asked.accrual_id,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            effective_at=asked.effective_at,
            posted_at=posting.posted_at if posting else None,
            reversed=worth_of(came.reversed, asked),
            hold_cancelled=worth_of(came.cancelled, asked),
            owed=worth_of(came.owed, asked),
            shortfall=worth_of(came.shortfall, asked),
            lapsed=worth_of(came.lapsed, asked),
            reversed_through=reversed_through,
            lots=taken(posting),
            balance=balance(posting or wallet, asked),
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.reverse", item, wallet, posting, asked=asked.request_id, shortfall=came.shortfall)


def tell_refused(tx: Tx, item: Item[Any], asked: ReversalRequested, wallet: Wallet, blocked: Blocked) -> None:
    """The answer to a reversal that the programme does not allow."""
    tx.emit(
        ReversalRefused(
            request_id=asked.request_id,
            refund_id=asked.refund_id,
            bill_id=asked.bill_id,
            accrual_id=asked.accrual_id,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            code=BLOCKED,
            detail=blocked.detail,
            shortfall=worth_of(blocked.shortfall, asked),
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.refuse_reversal", item, wallet, None, asked=asked.request_id)


def tell_repaid(tx: Tx, item: Item[Any], wallet: Wallet, posting: Posting, rate: Value) -> None:
    """What went to a debt of what just came."""
    tx.emit(
        PointsRepaid(
            posting_id=posting.posting_id,
            kind=posting.kind,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            repaid=worth_of(posting.points, rate),
            debt=worth_of(-posting.lines[-1].debt_after, rate),
            lots=taken(posting),
            balance=balance(posting, rate),
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.repay", item, wallet, posting)


def note(
    tx: Tx, action: str, item: Item[Any], wallet: Wallet, posting: Posting | None, **more: object
) -> None:
    """The audit's row of an act on a wallet; without a posting nothing moved."""
    moved: dict[str, object] = {}
    if posting is not None:
        moved = {
            "posting_id": posting.posting_id,
            "seq": posting.lines[-1].seq,
            "available": posting.available,
            "held": posting.held,
            "reserved": posting.reserved,
        }
    tx.audit(
        action,
        f"wallet/{wallet.wallet_id}",
        item=item,
        before=posting.before if posting is not None else None,
        after={**moved, **more},
    )


def taken(posting: Posting | None) -> tuple[TakenLot, ...]:
    """Which lots a posting names, line by line."""
    lines: tuple[Line, ...] = posting.lines if posting is not None else ()
    return tuple([TakenLot(lot_id=cast(UUID, line.lot_id), points=line.points) for line in lines])


def named(posting: Posting, lots: dict[UUID, Lot], rate: Value) -> tuple[ToldLot, ...]:
    """The same with the expiry of each lot."""
    return tuple(
        [
            ToldLot(
                lot_id=cast(UUID, line.lot_id),
                points=line.points,
                money=Money(money_of(line.points, rate.point_value, rate.currency), rate.currency),
                expires_at=lots[cast(UUID, line.lot_id)].expires_at,
            )
            for line in posting.lines
        ]
    )


def worth_of(points: int, rate: Value) -> Worth:
    """Points with their money."""
    return worth(points, rate.point_value, rate.currency)


def balance(stands: Posting | Wallet, rate: Value) -> Balance:
    """What a wallet has, or had after a posting."""
    return Balance(
        available=worth_of(stands.available, rate),
        held=worth_of(stands.held, rate),
        reserved=worth_of(stands.reserved, rate),
    )
