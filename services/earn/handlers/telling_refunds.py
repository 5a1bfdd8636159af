"""What is said of refunds that move: what the bank is asked, and how each ended, to all who offered it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec

from services.earn.domain.refund import Refund, RefundedBill, Request
from services.earn.domain.refund_answer import told
from services.earn.handlers.told import offered_by
from services.earn.store.listeners import Entry, keep_settled, tellers_of
from shared.events import EventData, RefundSettled, ReturnRequested, ReversalRequested
from shared.messaging import Item, Tx


async def tell_settled(
    tx: Tx, closed: Sequence[Refund], item_of: Mapping[UUID, Item[Any]]
) -> dict[UUID, UUID]:
    """Says how these refunds ended, whose rows are locked, to all who offered them; gives the events' ids.

    `item_of`: by refund, what moved it.
    """
    if not closed:
        return {}
    tellers = await tellers_of(tx.db, [(refund.refund_id, *refund.entry) for refund in closed])
    events, kept = {}, []
    for refund in closed:
        to = tellers[refund.refund_id]
        item = on_behalf_of(refund, item_of.get(refund.refund_id))
        events[refund.refund_id] = _tell_settled(tx, refund, to, item)
        own = refund.entry[0] is not None
        if len(to) > own:
            kept.append((refund.refund_id, refund.sequence, events[refund.refund_id], len(to)))
    if kept:
        await keep_settled(tx.db, kept)
    return events


def _tell_settled(tx: Tx, refund: Refund, to: Sequence[Entry], item: Item[Any]) -> UUID:
    refund.sequence += 1
    said = told(RefundSettled, replace(refund, entry=to[0]) if to else refund)
    if to[1:]:
        said = msgspec.structs.replace(said, also_offered_by=offered_by(to[1:]))
    tx.audit(
        "refund.settle",
        f"refund/{refund.refund_id}",
        item=item,
        after={"status": refund.status, "code": refund.code},
    )
    return tx.emit(said, subject=str(refund.refund_id), sequence=refund.sequence, item=item)


def on_behalf_of(refund: Refund, item: Item[Any] | None) -> Item[Any]:
    """What is said of a refund belongs to the call that asked for it, whatever moved it now."""
    assert item is not None, "a refund is moved by something"
    return Item(
        None,
        item.origin,
        request_id=refund.request_id,
        actor=item.actor,
        causation_id=item.event_id or item.causation_id,
        source=item.source,
        event_id=item.event_id,
        place=item.place,
        traceparent=refund.traceparent,
    )


def tell_request(
    tx: Tx, item: Item[Any], bill: RefundedBill, refund: Refund, request: Request, place: int
) -> None:
    """Asks the bank, for the first time or again: always the same."""
    asked: EventData
    if request.kind == "return":
        asked = ReturnRequested(
            request_id=request.request_id,
            refund_id=refund.refund_id,
            bill_id=bill.bill_id,
            merchant=bill.merchant,
            bill_ref=bill.bill_ref,
            returned_minor=request.through_minor,
            total_minor=request.of_minor,
            effective_at=refund.occurred_at,
            decided_at=request.decided_at,
        )
    else:
        assert request.accrual_id is not None
        assert request.wallet_id is not None
        assert request.programme is not None
        assert request.point_value is not None
        assert request.on_spent is not None
        assert request.target is not None
        asked = ReversalRequested(
            request_id=request.request_id,
            refund_id=refund.refund_id,
            bill_id=bill.bill_id,
            accrual_id=request.accrual_id,
            wallet_id=request.wallet_id,
            programme=request.programme,
            currency=request.currency or bill.currency,
            point_value=request.point_value,
            reverse_through=request.target,
            on_spent=request.on_spent,
            effective_at=refund.occurred_at,
            decided_at=request.decided_at,
        )
    tx.emit(asked, subject=str(bill.bill_id), sequence=place, item=item)
