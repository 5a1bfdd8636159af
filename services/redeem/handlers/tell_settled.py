"""What is told and answered of redemptions that are captured later."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from services.redeem.domain.ledger import Wallet
from services.redeem.domain.posting import Posting
from services.redeem.domain.redemption import AuthorisationAnswer, SettledAnswer
from services.redeem.domain.reserving import Redemption, Voided
from services.redeem.handlers.tell import balance_after, balance_now, note, taken_lots
from services.redeem.store.redemptions import Authorised
from shared.events import PointsRedeemed, PointsReserved, PointsVoided
from shared.messaging import Done, Item, Tx
from shared.money import Money, Worth
from shared.programme.compiled import CompiledProgramme

_encode = msgspec.json.Encoder().encode


def tell_reserved(
    tx: Tx,
    item: Item[Any],
    terms: CompiledProgramme,
    wallet: Wallet,
    posting: Posting,
    made: Authorised,
    sealed_code: str,
) -> Done:
    """Points set aside: the event, the audit row, and the answer with its code sealed."""
    row = made.row
    reserved = Worth(posting.points, Money(row.money_minor, terms.currency))
    balance = balance_after(posting, terms.point_value, terms.currency)
    subject = str(wallet.wallet_id)
    tx.emit(
        PointsReserved(
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
            expires_at=made.expires_at,
            reserved=reserved,
            lots=taken_lots(posting),
            balance=balance,
        ),
        subject=subject,
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.reserve", item, subject, posting)
    answer = AuthorisationAnswer(
        redemption_id=row.redemption_id,
        status="authorised",
        programme=wallet.programme,
        wallet_id=wallet.wallet_id,
        effective_at=posting.effective_at,
        expires_at=made.expires_at,
        code=sealed_code,
        reserved=reserved,
        balance=balance,
    )
    return Done(201, _encode(answer))


def tell_captured(
    tx: Tx,
    item: Item[Any],
    terms: CompiledProgramme,
    wallet: Wallet,
    redemption: Redemption,
    posting: Posting,
) -> None:
    """Reserved points that were spent."""
    subject = str(wallet.wallet_id)
    tx.emit(
        PointsRedeemed(
            posting_id=posting.posting_id,
            redemption_id=redemption.redemption_id,
            kind=posting.kind,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            merchant=redemption.merchant,
            bill_ref=redemption.bill_ref,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            redeemed=Worth(posting.points, Money(redemption.captured_minor, terms.currency)),
            lots=taken_lots(posting),
            balance=balance_after(posting, terms.point_value, terms.currency),
        ),
        subject=subject,
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.redeem", item, subject, posting)


def tell_voided(
    tx: Tx,
    item: Item[Any],
    terms: CompiledProgramme,
    wallet: Wallet,
    redemption: Redemption,
    posting: Posting,
) -> None:
    """Reserved points that went back."""
    assert redemption.ended is not None
    subject = str(wallet.wallet_id)
    tx.emit(
        PointsVoided(
            posting_id=posting.posting_id,
            redemption_id=redemption.redemption_id,
            kind=posting.kind,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            merchant=redemption.merchant,
            bill_ref=redemption.bill_ref,
            effective_at=posting.effective_at,
            posted_at=posting.posted_at,
            reason=redemption.ended,
            voided=terms.worth(posting.points),
            lots=taken_lots(posting),
            balance=balance_after(posting, terms.point_value, terms.currency),
        ),
        subject=subject,
        sequence=wallet.next_event(),
        item=item,
    )
    note(tx, "points.void", item, subject, posting)


def settled_answer(
    terms: CompiledProgramme,
    wallet: Wallet,
    redemption: Redemption,
    rest: Voided | None,
    now: datetime,
    newest: CompiledProgramme,
) -> Done:
    """The answer to a capture or a void; the balance is what it leaves, less what was taken of the points that came back and what
    has expired unswept, and worth what the newest version says."""
    expired = rest.expired.points if rest is not None and rest.expired is not None else 0
    assert redemption.ended_at is not None
    back = Worth(redemption.returned_points, Money(redemption.returned_minor, terms.currency))
    answer = SettledAnswer(
        redemption_id=redemption.redemption_id,
        status=redemption.status,
        programme=wallet.programme,
        wallet_id=wallet.wallet_id,
        effective_at=redemption.ended_at,
        redeemed=Worth(redemption.captured_points, Money(redemption.captured_minor, terms.currency)),
        voided=terms.worth(rest.given_back.points if rest is not None else 0),
        expired=terms.worth(expired),
        balance=balance_now(wallet, newest, now),
        returned=back if back.points or back.money.amount_minor else None,
    )
    return Done(200, _encode(answer))
