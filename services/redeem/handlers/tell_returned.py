"""What is told and answered of points that came back."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Wallet
from services.redeem.domain.posting import Posting
from services.redeem.domain.redemption import ReturnAnswer
from services.redeem.domain.reserving import Redemption
from services.redeem.domain.returning import Returned
from services.redeem.handlers.tell import balance_now, note, taken_lots
from shared.events import Balance, PointsReturned, ReturnRequested
from shared.messaging import Item, Tx
from shared.money import Money, Worth
from shared.programme.compiled import CompiledProgramme

_encode = msgspec.json.Encoder().encode


def tell_returned(
    tx: Tx,
    item: Item[Any],
    terms: CompiledProgramme,
    wallet: Wallet,
    redemption: Redemption,
    returned: Returned,
    at: datetime,
    return_id: UUID | None,
    request: ReturnRequested | None,
    parts: int = 1,
    *,
    late: bool = False,
) -> None:
    """What came back, also where that is nothing: who asked has an answer, in so many `parts`."""
    posting, subject = returned.posting, str(wallet.wallet_id)
    tx.emit(
        PointsReturned(
            posting_id=posting.posting_id if posting is not None else None,
            request_id=request.request_id if request is not None else None,
            refund_id=request.refund_id if request is not None else None,
            redemption_id=redemption.redemption_id,
            wallet_id=wallet.wallet_id,
            member_id=wallet.member_id,
            programme=wallet.programme,
            effective_at=at,
            posted_at=posting.posted_at if posting is not None else None,
            returned=Worth(returned.points, Money(returned.money_minor, terms.currency)),
            lots=taken_lots(posting) if posting is not None else (),
            balance=_as_posted(wallet if posting is None else posting, terms),
            return_id=return_id,
            parts=parts,
            late=late,
        ),
        subject=subject,
        sequence=wallet.next_event(),
        item=item,
    )
    if posting is not None:
        note(tx, "points.return", item, subject, posting)
    elif return_id is not None:
        after = {"return_id": return_id, "points": 0, "money_minor": returned.money_minor}
        tx.audit("points.return", f"wallet/{subject}", item=item, after=after)


def answer_nothing_found(tx: Tx, item: Item[ReturnRequested], sequence: int) -> None:
    """No points paid for the bill: said about the bill, for there is no wallet."""
    request = item.command
    tx.emit(
        PointsReturned(
            posting_id=None,
            request_id=request.request_id,
            refund_id=request.refund_id,
            redemption_id=None,
            wallet_id=None,
            member_id=None,
            programme=None,
            effective_at=request.effective_at,
            posted_at=None,
            returned=None,
            lots=(),
            balance=None,
        ),
        subject=str(request.bill_id),
        sequence=sequence,
        item=item,
    )


def _as_posted(stands: Wallet | Posting, terms: CompiledProgramme) -> Balance:
    """The buckets as the ledger has them: what expired counts until its line is posted."""
    return Balance(
        available=terms.worth(stands.available),
        held=terms.worth(stands.held),
        reserved=terms.worth(stands.reserved),
    )


def return_answer(
    terms: CompiledProgramme,
    wallet: Wallet,
    redemption: Redemption,
    returned: Returned,
    return_id: UUID,
    return_ref: str,
    at: datetime,
    newest: CompiledProgramme,
) -> bytes:
    """The answer to a return over HTTP, as it is kept under its reference; the balance is worth what the newest version says."""
    return _encode(
        ReturnAnswer(
            return_id=return_id,
            redemption_id=redemption.redemption_id,
            return_ref=return_ref,
            programme=wallet.programme,
            wallet_id=wallet.wallet_id,
            effective_at=at,
            returned=Worth(returned.points, Money(returned.money_minor, terms.currency)),
            returned_in_all=Worth(
                redemption.returned_points, Money(redemption.returned_minor, terms.currency)
            ),
            expired=terms.worth(returned.expired.points if returned.expired is not None else 0),
            balance=balance_now(wallet, newest, at),
        )
    )
