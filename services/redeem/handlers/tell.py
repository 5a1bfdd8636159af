"""What is told of each posting, and noted for the audit."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Wallet
from services.redeem.domain.offline import Overdrawn
from services.redeem.domain.posting import Posting, Value
from services.redeem.domain.redemption import RedemptionAnswer
from services.redeem.domain.spendable import spendable
from services.redeem.store.postings import Redemption
from shared.events import (
    Balance,
    Lot,
    OfflineRedeemed,
    PointsAccrued,
    PointsCredited,
    PointsExpired,
    PointsRedeemed,
    TakenLot,
)
from shared.messaging import Done, Item, Tx
from shared.money import Money, Worth, money_of, worth
from shared.programme.compiled import CompiledProgramme

_encode = msgspec.json.Encoder().encode


def tell_credited(
    tx: Tx,
    item: Item[Any],
    accrual: PointsAccrued,
    wallet: Wallet,
    posting: Posting,
    sequence: int | None = None,
) -> None:
    """`sequence`: the event's, where it was counted before."""
    value, currency = accrual.point_value, accrual.currency
    subject = str(wallet.wallet_id)
    tx.emit(
        PointsCredited(
            posting_id=posting.posting_id,
            kind=posting.kind,
            wallet_id=accrual.wallet_id,
            resolved_wallet=None if accrual.wallet_id == wallet.wallet_id else wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            bill_id=accrual.bill_id,
            act_id=accrual.act_id,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            credited=worth(posting.points, value, currency),
            lots=tuple(
                [
                    Lot(
                        lot_id=lot.lot_id,
                        points=lot.points,
                        money=worth(lot.points, value, currency).money,
                        expires_at=lot.expires_at,
                    )
                    for lot in accrual.lots
                ]
            ),
            balance=balance_after(posting, value, currency),
        ),
        subject=subject,
        sequence=sequence or wallet.next_event(),
        item=item,
    )
    note(tx, "points.credit", item, subject, posting)


def tell_expired(
    tx: Tx, item: Item[Any], terms: Value, wallet: Wallet, posting: Posting, sequence: int | None = None
) -> None:
    """`sequence`: the event's, where it was counted before."""
    subject = str(wallet.wallet_id)
    tx.emit(
        PointsExpired(
            posting_id=posting.posting_id,
            kind=posting.kind,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            expired=worth(posting.points, terms.point_value, terms.currency),
            lots=taken_lots(posting),
            balance=balance_after(posting, terms.point_value, terms.currency),
            programme_version=posting.silenced_by,
        ),
        subject=subject,
        sequence=sequence or wallet.next_event(),
        item=item,
    )
    note(tx, "points.expire", item, subject, posting)


def tell_redeemed(
    tx: Tx,
    item: Item[Any],
    terms: CompiledProgramme,
    wallet: Wallet,
    posting: Posting,
    row: Redemption,
) -> Done:
    redeemed = Worth(posting.points, Money(row.money_minor, terms.currency))
    balance = balance_after(posting, terms.point_value, terms.currency)
    subject = str(wallet.wallet_id)
    tx.emit(
        PointsRedeemed(
            posting_id=posting.posting_id,
            redemption_id=row.redemption_id,
            kind=posting.kind,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            merchant=row.merchant,
            bill_ref=row.bill_ref,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            redeemed=redeemed,
            lots=taken_lots(posting),
            balance=balance,
        ),
        subject=subject,
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.redeem", item, subject, posting)
    answer = RedemptionAnswer(
        redemption_id=row.redemption_id,
        status="captured",
        programme=wallet.programme,
        wallet_id=wallet.wallet_id,
        effective_at=posting.effective_at,
        redeemed=redeemed,
        balance=balance,
    )
    return Done(201, _encode(answer))


def tell_redeemed_offline(
    tx: Tx, item: Item[Any], terms: CompiledProgramme, wallet: Wallet, decided: Overdrawn, row: Redemption
) -> None:
    """What a till let a member spend while it could not ask."""
    posting, subject = decided.spent, str(wallet.wallet_id)
    tx.emit(
        OfflineRedeemed(
            posting_id=posting.posting_id,
            redemption_id=row.redemption_id,
            kind=posting.kind,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            merchant=row.merchant,
            bill_ref=row.bill_ref,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            redeemed=Worth(posting.points, Money(row.money_minor, terms.currency)),
            lots=taken_lots(posting),
            balance=balance_after(posting, terms.point_value, terms.currency),
            overdrawn=worth(decided.owed, terms.point_value, terms.currency),
        ),
        subject=subject,
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.redeem", item, subject, posting)


class _After(msgspec.Struct, gc=False, omit_defaults=True):
    posting_id: UUID
    seq: int
    available: int
    held: int
    reserved: int
    programme_version: int | None = None


def note(tx: Tx, action: str, item: Item[Any], wallet_id: str, posting: Posting) -> None:
    """The audit row of a posting."""
    after = _After(
        posting.posting_id,
        posting.lines[-1].seq,
        posting.available,
        posting.held,
        posting.reserved,
        posting.silenced_by,
    )
    tx.audit(action, f"wallet/{wallet_id}", item=item, before=posting.before, after=after)


def taken_lots(posting: Posting) -> tuple[TakenLot, ...]:
    """Which lots a posting moved points of; what was overdrawn is of none."""
    return tuple(
        [
            TakenLot(lot_id=line.lot_id, points=line.points)
            for line in posting.lines
            if line.lot_id is not None
        ]
    )


def balance_now(wallet: Wallet, terms: CompiledProgramme, now: datetime) -> Balance:
    """The wallet's balance as an act leaves it: after all of its postings, and as it is read (what expired and was not swept
    is not available). The wallet's expired lots are loaded."""
    return Balance(
        available=terms.worth(spendable(wallet, now)),
        held=terms.worth(wallet.held),
        reserved=terms.worth(wallet.reserved),
    )


def balance_after(posting: Posting, point_value: str, currency: str) -> Balance:
    """The wallet's balance after a posting, with its money."""
    nothing = worth(0, point_value, currency)
    return Balance(
        available=Worth(
            posting.available, Money(money_of(posting.available, point_value, currency), currency)
        ),
        held=worth(posting.held, point_value, currency) if posting.held else nothing,
        reserved=worth(posting.reserved, point_value, currency) if posting.reserved else nothing,
    )
