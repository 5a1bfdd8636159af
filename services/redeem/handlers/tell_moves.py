"""What is told of points that nobody spent, and noted for the audit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from services.redeem.domain.acts import Adjustment, Part
from services.redeem.domain.coming_back import Recovered
from services.redeem.domain.expiring import Notice
from services.redeem.domain.ledger import Line, Lot, Wallet
from services.redeem.domain.posting import Posting, Value
from services.redeem.domain.reversing import BLOCKED, Blocked, Reversal
from shared.events import (
    Balance,
    PointsAdjusted,
    PointsCredited,
    PointsExpiring,
    PointsReinstated,
    PointsReleased,
    PointsRepaid,
    PointsReversed,
    PointsTransferred,
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
            **_decided_for(wallet, asked),
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
    earned_at: datetime | None,
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
            **_decided_for(wallet, asked),
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
            earned_at=earned_at,
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.reverse", item, wallet, posting, asked=asked.request_id, shortfall=came.shortfall)


def tell_recovered(tx: Tx, item: Item[Any], wallet: Wallet, one: Recovered) -> None:
    """What a reversal had been short of, and took when it came back: a late answer to the request."""
    asked, nothing = one.short.asked, worth_of(0, one.short.asked)
    tx.emit(
        PointsReversed(
            posting_id=one.posting.posting_id,
            request_id=asked.request_id,
            refund_id=asked.refund_id,
            bill_id=asked.bill_id,
            accrual_id=asked.accrual_id,
            **_decided_for(wallet, asked),
            member_id=wallet.member_id,
            programme=wallet.programme,
            effective_at=one.posting.effective_at,
            posted_at=one.posting.posted_at,
            reversed=worth_of(one.posting.points, asked),
            hold_cancelled=nothing,
            owed=nothing,
            shortfall=nothing,
            lapsed=nothing,
            reversed_through=one.through,
            lots=taken(one.posting),
            balance=balance(one.posting, asked),
            earned_at=one.short.earned_at,
            late=True,
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.recover", item, wallet, one.posting, asked=asked.request_id)


def tell_refused(tx: Tx, item: Item[Any], asked: ReversalRequested, wallet: Wallet, blocked: Blocked) -> None:
    """The answer to a reversal that the programme does not allow."""
    tx.emit(
        ReversalRefused(
            request_id=asked.request_id,
            refund_id=asked.refund_id,
            bill_id=asked.bill_id,
            accrual_id=asked.accrual_id,
            **_decided_for(wallet, asked),
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


def tell_repaid(
    tx: Tx, item: Item[Any], wallet: Wallet, posting: Posting, rate: Value, sequence: int | None = None
) -> None:
    """What went to a debt of what just came. `sequence`: the event's, where it was counted before."""
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
        sequence=sequence or wallet.next_event(),
        item=item,
    )
    note(tx, "points.repay", item, wallet, posting)


def tell_transferred(
    tx: Tx,
    item: Item[Any],
    rate: Value,
    wallet: Wallet,
    other: Wallet,
    posting: Posting,
    direction: Literal["given", "received"],
) -> None:
    """One side of a transfer."""
    tx.emit(
        PointsTransferred(
            posting_id=posting.posting_id,
            transfer_id=cast(UUID, posting.lines[0].source_id),
            kind=posting.kind,
            direction=direction,
            wallet_id=wallet.wallet_id,
            other_wallet_id=other.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            transferred=worth_of(posting.points, rate),
            lots=named(posting, wallet.lots, rate),
            balance=balance(posting, rate),
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.transfer", item, wallet, posting, direction=direction, other=other.wallet_id)


def tell_adjusted(
    tx: Tx, item: Item[Any], rate: Value, wallet: Wallet, posting: Posting, asked: Adjustment, part: Part
) -> None:
    """What a person put right, and why."""
    direction: Literal["given", "taken"] = "given" if part.points > 0 else "taken"
    tx.emit(
        PointsAdjusted(
            posting_id=posting.posting_id,
            adjustment_id=asked.adjustment_id,
            kind=posting.kind,
            direction=direction,
            reason=asked.reason,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            adjusted=worth_of(posting.points, rate),
            lots=named(posting, wallet.lots, rate),
            balance=balance(posting, rate),
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.adjust", item, wallet, posting, adjustment_id=asked.adjustment_id, reason=asked.reason)


SPENT_OFFLINE = "spent_offline"
"""The reason of what came back for it had been spent before it expired."""


def tell_reinstated(
    tx: Tx,
    item: Item[Any],
    rate: Value,
    wallet: Wallet,
    posting: Posting,
    lots: Iterable[Lot],
    reason: str,
    *,
    redemption_id: UUID | None = None,
) -> None:
    """What a person brought back, or a redemption that is told late, and why."""
    tx.emit(
        PointsReinstated(
            posting_id=posting.posting_id,
            kind=posting.kind,
            reason=reason,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            reinstated=worth_of(posting.points, rate),
            lots=named(posting, lots, rate),
            balance=balance(posting, rate),
            redemption_id=redemption_id,
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.reinstate", item, wallet, posting, reason=reason)


def tell_opened(tx: Tx, item: Item[Any], rate: Value, wallet: Wallet, posting: Posting) -> None:
    """What a member brought along."""
    tx.emit(
        PointsCredited(
            posting_id=posting.posting_id,
            kind=posting.kind,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            bill_id=None,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            credited=worth_of(posting.points, rate),
            lots=named(posting, wallet.lots, rate),
            balance=balance(posting, rate),
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.open", item, wallet, posting)


def tell_expiring(tx: Tx, item: Item[Any], rate: Value, wallet: Wallet, notice: Notice) -> None:
    """What will expire, unless it is spent."""
    tx.emit(
        PointsExpiring(
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            expires_at=notice.expires_at,
            days=notice.days,
            expiring=worth_of(notice.points, rate),
            balance=balance(wallet, rate),
        ),
        subject=str(wallet.wallet_id),
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.notice", item, wallet, None, expires_at=notice.expires_at, days=notice.days)


def _decided_for(wallet: Wallet, asked: ReleaseRequested | ReversalRequested) -> dict[str, Any]:
    """The wallet that was asked about, and the one that it was merged into."""
    if asked.wallet_id == wallet.wallet_id:
        return {"wallet_id": wallet.wallet_id}
    return {"wallet_id": asked.wallet_id, "resolved_wallet": wallet.wallet_id}


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


def named(posting: Posting, lots: Iterable[Lot], rate: Value) -> tuple[ToldLot, ...]:
    """The same with the expiry of each lot."""
    expiries = {lot.lot_id: lot.expires_at for lot in lots}
    return tuple(
        [
            ToldLot(
                lot_id=cast(UUID, line.lot_id),
                points=line.points,
                money=Money(money_of(line.points, rate.point_value, rate.currency), rate.currency),
                expires_at=expiries[cast(UUID, line.lot_id)],
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
