"""Refunds are recorded, from the tills' stream and over HTTP the same way, and followed until the bank has answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.earn.domain.judge import EARLIEST, FUTURE, OccurredInFuture, OccurredTooEarly
from services.earn.domain.offer import REFUND_TYPE, read_entry
from services.earn.domain.refund import (
    MerchantMismatch,
    Refund,
    RefundConflict,
    RefundedBill,
    check,
)
from services.earn.domain.refund_answer import body_of, status_of, told
from services.earn.domain.refund_body import RecordRefund, read_refund
from services.earn.domain.spoiled import Spoiled
from services.earn.handlers.batch import IdReused
from services.earn.handlers.courses import Courses, follow
from services.earn.handlers.refund_batch import Asking, RefundBatch
from services.earn.handlers.reject import reject
from services.earn.handlers.told import Replies
from services.earn.store import nets
from services.earn.store import refunds as store
from services.earn.store.listeners import listen_for_refunds
from services.earn.store.refunds import Reference, Told
from shared.errors import NotFound, Refusal
from shared.events import RefundRecorded, RefundSettled
from shared.ids import uuid7
from shared.messaging import Done, FromDeadLetter, Item, Outcome, PosRefund, Refused, Tx


async def record_refunds(tx: Tx, items: Sequence[Item[PosRefund | RecordRefund]]) -> list[Outcome]:
    """Records refunds, each once, and begins those whose bills are there; refuses what its bill does not have."""
    return await _recorded(RefundBatch(tx, items))


async def _recorded(batch: RefundBatch) -> list[Outcome]:
    tx, items = batch.tx, batch.items
    asked = await _name_bills(batch, _read(batch))
    bills = await store.bills_by_reference(tx.db, {ask.reference for ask in asked}) if asked else {}
    asked = await _known_apart(batch, asked)
    admitted, refused = await _admit(batch, asked, bills, tx.now())
    new = await _claim(batch, admitted) if admitted else []
    _refuse(batch, refused, admitted, new)
    named = {ask.reference for ask in new}
    courses = await follow(tx, [bill for key, bill in bills.items() if key in named and not bill.waits])
    known = await _look_again(batch) if batch.repeats else {}
    if new:
        await _record(batch, new, bills, courses)
    _answer_again(batch, known)
    for (place, _, refusal), repeated in zip(
        batch.rejections, await reject(tx, [one for _, one, _ in batch.rejections]), strict=True
    ):
        again = repeated and not isinstance(items[place].origin, FromDeadLetter)
        batch.outcomes[place] = Refused(refusal, replayed=again)
    if batch.later:
        later = sorted(batch.later)
        told_again = await _recorded(RefundBatch(tx, [items[place] for place in later], again=True))
        for place, outcome in zip(later, told_again, strict=True):
            batch.outcomes[place] = outcome
    return [outcome for outcome in batch.outcomes if outcome is not None]


def _read(batch: RefundBatch) -> list[Asking]:
    """What could be read."""
    asked: list[Asking] = []
    for place, item in enumerate(batch.items):
        if isinstance(item.command, RecordRefund):
            asked.append(Asking(place, item, item.command, None, uuid7()))
            continue
        found = read_entry(
            item.command.event or b"", tenant=batch.tx.tenant.code, type_=REFUND_TYPE, read=read_refund
        )
        if isinstance(found, Spoiled):
            batch.enter(item, found)
            batch.spoiled(place, found)
            continue
        entry, command = found
        batch.enter(item, entry)
        asked.append(Asking(place, item, command, (entry.source, entry.event_id), uuid7()))
    return asked


async def _name_bills(batch: RefundBatch, asked: Sequence[Asking]) -> list[Asking]:
    """Those that name a bill of their own merchant, or one that has not come; each by its reference."""
    by_id = {ask.command.bill_id for ask in asked if ask.command.bill_id is not None}
    references = await store.bill_references(batch.tx.db, by_id) if by_id else {}
    found = []
    for ask in asked:
        command = ask.command
        if command.bill_id is not None:
            found_at = references.get(command.bill_id)
            if found_at is None or (command.bounded and found_at[0] != command.merchant):
                batch.refuse(ask, NotFound("There is no such bill."))
                continue
            ask.reference = found_at
        else:
            assert command.bill_merchant is not None
            assert command.bill_ref is not None
            ask.reference = (command.bill_merchant, command.bill_ref)
        ask.content_hash = command.content_hash(*ask.reference)
        if ask.reference[0] != command.merchant:
            said = (
                f"The bill is not {command.merchant}'s: a bill is refunded by the merchant that recorded it."
            )
            batch.refuse(ask, MerchantMismatch(said, pointer="/merchant"))
        else:
            found.append(ask)
    return found


async def _known_apart(batch: RefundBatch, asked: Sequence[Asking]) -> list[Asking]:
    """Those whose reference was not used before: a refund that was taken once is answered again, whatever has changed. One whose
    reference or id an earlier one of the batch has comes after that."""
    if not asked:
        return []
    contents = await store.refund_contents(batch.tx.db, {ask.key for ask in asked})
    found: list[Asking] = []
    keys: set[tuple[str, str]] = set()
    pairs: set[tuple[str, str]] = set()
    for ask in asked:
        known = contents.get(ask.key)
        if known is not None:
            _repeat(batch, ask, known)
            continue
        if ask.key in keys or ask.pair in pairs:
            batch.later.append(ask.place)  # what it is depends on what becomes of the first
        else:
            found.append(ask)
        keys.add(ask.key)
        if ask.pair is not None:
            pairs.add(ask.pair)
    return found


def _repeat(batch: RefundBatch, ask: Asking, known: tuple[bytes, UUID]) -> None:
    if known[0] == ask.content_hash:
        batch.repeats.append(replace(ask, refund_id=known[1]))
    else:
        said = (
            f"{ask.command.merchant} has recorded another refund with this reference. "
            "Send this one under a refund_ref of its own."
        )
        batch.refuse(ask, RefundConflict(said, pointer="/refund_ref"))


async def _admit(
    batch: RefundBatch, asked: Sequence[Asking], bills: Mapping[Reference, RefundedBill], now: datetime
) -> tuple[list[Asking], list[tuple[Asking, Refusal]]]:
    """Those that their bills have room for beside those before them, as far as can be seen before the bills are locked; and the
    others."""
    settled = {bills[ask.reference].bill_id for ask in asked if ask.reference in bills}
    refunded = await store.refunded_by_line(batch.tx.db, settled) if settled else {}
    admitted: list[Asking] = []
    refused: list[tuple[Asking, Refusal]] = []
    for ask in asked:
        try:
            if ask.command.occurred_at > now + FUTURE:
                said = "The refund lies more than 5 minutes in the future."
                raise OccurredInFuture(said, pointer="/occurred_at")
            if ask.command.occurred_at < EARLIEST:
                raise OccurredTooEarly("The refund lies before 1970.", pointer="/occurred_at")
            bill = bills.get(ask.reference)
            if bill is not None:
                before = refunded.setdefault(bill.bill_id, [])
                columns = [sum(column) for column in zip(*before, strict=True)] or [0] * len(bill.amounts)
                before.append(check(ask.command.asked, bill, columns, currency=ask.command.currency))
        except Refusal as refusal:
            refused.append((ask, refusal))
        else:
            admitted.append(ask)
    return admitted, refused


def _refuse(
    batch: RefundBatch,
    refused: Sequence[tuple[Asking, Refusal]],
    admitted: Sequence[Asking],
    new: Sequence[Asking],
) -> None:
    """Refuses these, but for those of a bill of which one was admitted before and not taken, for its id or reference was used: it
    had taken no room. They are looked at once more."""
    taken = {ask.refund_id for ask in new}
    freed = {ask.reference for ask in admitted if ask.refund_id not in taken}
    for ask, refusal in refused:
        if ask.reference in freed:
            batch.later.append(ask.place)
        else:
            batch.refuse(ask, refusal)


async def _claim(batch: RefundBatch, asked: Sequence[Asking]) -> list[Asking]:
    """The refunds that are new, from now on taken."""
    tx = batch.tx
    offers = {ask.pair: ask for ask in asked if ask.pair is not None}
    if offers:
        fresh = await nets.claim_pos_events(
            tx.db, [(*pair, ask.content_hash) for pair, ask in offers.items()]
        )
        contents = await nets.pos_contents(tx.db, [pair for pair in offers if pair not in fresh])
        free = []
        for ask in asked:
            used = None if ask.pair is None else contents.get(ask.pair)
            if used is not None and used != ask.content_hash:
                batch.refuse(ask, IdReused())
            else:
                free.append(ask)
        asked = free
    if not asked:
        return []
    taken = await store.claim_refund_keys(
        tx.db, [(*ask.key, ask.content_hash, ask.refund_id) for ask in asked]
    )
    late = [ask for ask in asked if ask.refund_id not in taken]
    if late:
        known = await store.refund_contents(tx.db, {ask.key for ask in late})
        for ask in late:
            _repeat(batch, ask, known[ask.key])
    return [ask for ask in asked if ask.refund_id in taken]


async def _record(
    batch: RefundBatch, new: Sequence[Asking], bills: Mapping[Reference, RefundedBill], courses: Courses
) -> None:
    tx = batch.tx
    made: list[tuple[Asking, Refund]] = []
    for ask in new:
        refund = _refund(ask)
        bill = bills.get(ask.reference)
        if bill is not None and not bill.waits:
            courses.of(bill.bill_id).take(refund)
        made.append((ask, refund))
    rows = []
    for ask, refund in made:
        refund.sequence = 1
        event_id = tx.emit(
            told(RefundRecorded, refund), subject=str(refund.refund_id), sequence=1, item=ask.item
        )
        status = status_of(refund)
        rows.append(store.refund_row(refund, ask.command, recorded_event_id=event_id, told_status=status))
        tx.audit("refund.record", f"refund/{refund.refund_id}", item=ask.item, after={"status": status})
        if ask.pair is not None:
            batch.outcomes[ask.place] = Done()
        else:
            batch.outcomes[ask.place] = Done(201 if refund.closed else 202, body_of(refund))
    await store.write_refunds(tx.db, rows)
    items = {refund.refund_id: ask.item for ask, refund in made}
    await courses.write(new=items.keys(), item_of=items)


def _refund(ask: Asking) -> Refund:
    command = ask.command
    return Refund(
        refund_id=ask.refund_id,
        merchant=command.merchant,
        refund_ref=command.refund_ref,
        bill_ref=ask.reference[1],
        occurred_at=command.occurred_at,
        currency=command.currency,
        asked=command.asked,
        status="waiting_for_bill",
        request_id=ask.item.request_id,
        traceparent=ask.item.traceparent,
        entry=ask.entry,
    )


async def _look_again(batch: RefundBatch) -> dict[UUID, Told]:
    """The refunds that are offered again, where they stand. A till that offers one which is not closed is told when it is: it says
    so under the locks of sagas and before anything of this batch is written, in the order of who closes refunds."""
    tx, ids = batch.tx, {ask.refund_id for ask in batch.repeats}
    known = await store.refunds_by_id(tx.db, ids)
    listening = [
        (ask.refund_id, ask.offered)
        for ask in sorted(batch.repeats, key=lambda ask: ask.place)
        if ask.pair not in (None, known[ask.refund_id].refund.entry[1:])
        and not known[ask.refund_id].refund.closed
    ]
    if not listening:
        return known
    await listen_for_refunds(tx.db, listening)
    return await store.refunds_by_id(tx.db, ids)


def _answer_again(batch: RefundBatch, known: Mapping[UUID, Told]) -> None:
    """By HTTP the refund as it stands; to a till what it was told last, under that event's id."""
    replies = Replies(batch.tx)
    for ask in batch.repeats:
        one = known[ask.refund_id]
        if ask.pair is None:
            batch.outcomes[ask.place] = Done(200, body_of(one.refund))
            continue
        _reply_again(replies, ask, one)
        batch.outcomes[ask.place] = Done(replayed=True)


def _reply_again(replies: Replies, ask: Asking, one: Told) -> None:
    refund = one.refund
    same = ask.pair == refund.entry[1:]
    kind: type[RefundRecorded] | type[RefundSettled] = RefundRecorded
    event_id, sequence, at = one.recorded_event_id, 1, one.recorded_at
    if one.settled_event_id is not None and one.settled_at is not None:
        kind, event_id, sequence, at = RefundSettled, one.settled_event_id, refund.sequence, one.settled_at
    elif not refund.closed:
        refund = replace(refund, status=one.told_status)
        if one.told_status == "waiting_for_bill":
            refund = replace(refund, bill_id=None, refunded_minor=None)
    replies.add(
        told(kind, refund if same else replace(refund, entry=ask.entry)),
        source=ask.entry[1],
        event_id=event_id,
        subject=str(refund.refund_id),
        sequence=sequence,
        time=at,
        item=ask.item,
    )
