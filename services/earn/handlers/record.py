"""Bills are recorded: from the tills' stream and over HTTP, the same way, in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.earn.domain.answer import answer_of, body
from services.earn.domain.bill import RecordBill, check_total
from services.earn.domain.decision import Decision
from services.earn.domain.judge import Facts, admit, waits_for
from services.earn.domain.offer import TYPE, read_offer
from services.earn.domain.spoiled import Spoiled
from services.earn.handlers.batch import Asked, Batch, BillConflict, IdReused
from services.earn.handlers.benefits import ask_benefits, gives
from services.earn.handlers.entering import entered
from services.earn.handlers.hold import HOLDING, Held, plan_holds
from services.earn.handlers.judging import judge_all
from services.earn.handlers.reject import reject
from services.earn.handlers.told import Replies, accrual_rows, tell, tell_accruals
from services.earn.store import bills as bills_store
from services.earn.store import nets, waiting
from services.earn.store.facts import facts_for
from services.earn.store.listeners import Entry, listen_for_bills
from services.earn.store.nets import FirstAnswer
from services.earn.store.waiting import LastSettled
from shared.errors import Refusal
from shared.events import BillRecorded, BillSettled
from shared.ids import uuid7
from shared.messaging import Done, FromDeadLetter, Item, Outcome, PosEntry, Refused, Tx


async def record_bills(tx: Tx, items: Sequence[Item[PosEntry | RecordBill]]) -> list[Outcome]:
    """Records bills, each once, and judges those that wait for nothing; refuses what no programme takes."""
    batch = Batch(tx, items)
    asked = _read(batch)
    if asked:
        facts = await facts_for(tx.db, [ask.bill for ask in asked], tx.cache)
        now = tx.now()
        admitted = await _admit(batch, asked, facts, now)
        new = await _claim(batch, admitted) if admitted else []
        # Bills that wait are met before what they wait for: those that were known go first, then those of this batch.
        fresh = {ask.key for ask in new}
        known = [ask for ask in sorted(batch.repeats, key=lambda ask: ask.place) if ask.key not in fresh]
        if known:
            await _answer_again(batch, known)
        if new:
            await _record(batch, new, facts, now)
        if len(known) < len(batch.repeats):
            await _answer_again(batch, [ask for ask in batch.repeats if ask.key in fresh])
    for (place, _, refusal), repeated in zip(
        batch.rejections, await reject(tx, [one for _, one, _ in batch.rejections]), strict=True
    ):
        # A dead letter that was tried again and refused again is open again, not a repeat.
        again = repeated and not isinstance(items[place].origin, FromDeadLetter)
        batch.outcomes[place] = Refused(refusal, replayed=again)
    return [outcome for outcome in batch.outcomes if outcome is not None]


# ---- what is asked -----------------------------------------------------------------------------


def _read(batch: Batch) -> list[Asked]:
    tenant = batch.tx.tenant
    asked = []
    for place, item in enumerate(batch.items):
        command = item.command
        if isinstance(command, RecordBill):
            ask = Asked(place, item, command, uuid7(), None)
            try:
                check_total(command)
            except Refusal as refusal:
                batch.refuse(ask, refusal)
            else:
                asked.append(ask)
            continue
        offer = read_offer(command.event, tenant=tenant.code, identity_key=tenant.identity_key)
        entered(batch.tx, item, offer, TYPE)
        if isinstance(offer, Spoiled):
            batch.spoiled(place, offer)
        else:
            asked.append(Asked(place, item, offer.bill, uuid7(), (offer.source, offer.event_id)))
    return asked


async def _admit(batch: Batch, asked: Sequence[Asked], facts: Facts, now: datetime) -> list[Asked]:
    """Those that are taken. A bill that was taken before is not refused for its age, but answered again."""
    admitted = []
    refused: list[tuple[Asked, Refusal]] = []
    for ask in asked:
        try:
            admit(ask.bill, facts, now)
        except Refusal as refusal:
            refused.append((ask, refusal))
        else:
            admitted.append(ask)
    if refused:
        contents = await nets.bill_contents(batch.tx.db, {ask.key for ask, _ in refused})
        for ask, why in refused:
            if contents.get(ask.key) == ask.bill.content_hash:
                batch.repeats.append(ask)
            else:
                batch.refuse(ask, why)
    return admitted


# ---- the two nets ------------------------------------------------------------------------------


FEW = 16
"""Up to so many bills, the round trips of COPY in a savepoint of its own cost more than they save."""
_CAREFUL = "earn claims each bill by itself"


async def _claim(batch: Batch, asked: Sequence[Asked]) -> list[Asked]:
    """The bills that are new, from now on taken. Repeats and conflicts are put aside."""
    # Where one bill is offered again, more are: until a batch is all new, each is asked for by itself.
    cache = batch.tx.cache
    if len(asked) > FEW and not cache.get(_CAREFUL):
        offers = [(*ask.pair, ask.bill.content_hash) for ask in asked if ask.pair is not None]
        bills = [(ask.bill_id, ask.bill) for ask in asked]
        if await nets.claim_all(batch.tx.db, offers, bills):
            return list(asked)
    new = await _claim_each(batch, asked)
    cache[_CAREFUL] = len(new) < len(asked)
    return new


async def _claim_each(batch: Batch, asked: Sequence[Asked]) -> list[Asked]:
    unused, repeats = await _claim_pairs(batch, asked)
    by_key: dict[tuple[str, str], Asked] = {}
    others = repeats
    for ask in unused:
        if by_key.setdefault(ask.key, ask) is not ask:
            others.append(ask)
    taken: set[UUID] = set()
    if by_key:
        taken = await nets.claim_bill_keys(batch.tx.db, [(ask.bill_id, ask.bill) for ask in by_key.values()])
    new = [ask for ask in by_key.values() if ask.bill_id in taken]
    if len(new) < len(by_key):
        others += [ask for ask in by_key.values() if ask.bill_id not in taken]
    if others:
        contents = await nets.bill_contents(batch.tx.db, {ask.key for ask in others})
        for ask in others:
            if contents.get(ask.key) == ask.bill.content_hash:
                batch.repeats.append(ask)
            else:
                batch.refuse(ask, _conflict(ask.bill))
    return new


async def _claim_pairs(batch: Batch, asked: Sequence[Asked]) -> tuple[list[Asked], list[Asked]]:
    """(those whose till's id was not used before, those whose id was used for the same content)."""
    first: dict[tuple[str, str], Asked] = {}
    for ask in asked:
        if ask.pair is not None:
            first.setdefault(ask.pair, ask)
    if not first:
        return list(asked), []
    fresh = await nets.claim_pos_events(
        batch.tx.db, [(*pair, ask.bill.content_hash) for pair, ask in first.items()]
    )
    contents: Mapping[tuple[str, str], bytes] = {}
    if len(fresh) < len(first):
        contents = await nets.pos_contents(batch.tx.db, [pair for pair in first if pair not in fresh])
    unused, repeats = [], []
    for ask in asked:
        if ask.pair is None or (ask.pair in fresh and first[ask.pair] is ask):
            unused.append(ask)
        elif contents.get(ask.pair, first[ask.pair].bill.content_hash) == ask.bill.content_hash:
            repeats.append(ask)
        else:
            batch.refuse(ask, IdReused())
    return unused, repeats


def _conflict(bill: RecordBill) -> BillConflict:
    return BillConflict(
        f"{bill.merchant} has recorded another bill with this reference, and what was recorded stays. Send another sale under a "
        "bill_ref of its own; take back what is wrong of that bill by a refund.",
        pointer="/bill_ref",
    )


# ---- new bills ---------------------------------------------------------------------------------


async def _record(batch: Batch, new: Sequence[Asked], facts: Facts, now: datetime) -> None:
    tx = batch.tx
    waits = {ask.bill_id: waits for ask in new if (waits := waits_for(ask.bill, facts))}
    latest = facts
    if waits:
        # Whoever learns one of these meets us at its row; what was learned before we got there is seen from here on.
        await waiting.lock_awaited(tx.db, {one for found in waits.values() for one in found})
        patient = [ask for ask in new if ask.bill_id in waits]
        latest = await facts_for(tx.db, [ask.bill for ask in patient], tx.cache)
        waits = {ask.bill_id: found for ask in patient if (found := waits_for(ask.bill, latest))}
        late = {ask.bill_id for ask in patient}
    else:
        late = set()
    known = {ask.bill_id: latest if ask.bill_id in late else facts for ask in new if ask.bill_id not in waits}
    decisions = await judge_all(
        tx, [(ask.bill_id, ask.bill, known[ask.bill_id], now) for ask in new if ask.bill_id in known]
    )
    bill_rows: list[bills_store.Row] = []
    decision_rows: list[bills_store.Row] = []
    accruals: list[bills_store.Row] = []
    held: list[Held] = []
    giving: list[tuple[UUID, datetime, Decision, Item[Any]]] = []
    for ask in new:
        bill_id, bill, item, entry = ask.bill_id, ask.bill, ask.item, ask.entry
        if bill_id in waits:
            decision = Decision(status="waiting", waiting_for=waits[bill_id])
        else:
            decision = next(decisions)
            accruals += accrual_rows(bill_id, decision)
            if decision.status in HOLDING:
                held.append((bill_id, bill.occurred_at, decision, known[bill_id].programmes))
            if gives(decision):
                giving.append((bill_id, bill.occurred_at, decision, item))
        subject = str(bill_id)
        recorded_event_id = tell(
            tx,
            item,
            BillRecorded,
            bill_id=bill_id,
            subject=subject,
            bill=bill,
            decision=decision,
            entry=entry,
            sequence=1,
        )
        following = tell_accruals(
            tx, item, bill_id=bill_id, subject=subject, bill=bill, decision=decision, now=now, sequence=2
        )
        tx.audit("bill.record", f"bill/{subject}", item=item)
        bill_rows.append(
            bills_store.bill_row(bill_id, bill, recorded_event_id=recorded_event_id, entry=entry)
        )
        decision_rows.append(
            bills_store.decision_row(bill_id, decision, n=1, decided_at=now, sequence=following - 1)
        )
        batch.outcomes[ask.place] = _done(ask, decision)
    await bills_store.write_bills(tx.db, bill_rows)
    await bills_store.write_decisions(tx.db, decision_rows)
    await bills_store.write_accruals(tx.db, accruals)
    if held:
        await plan_holds(tx, held)
    if giving:
        await ask_benefits(tx, giving)
    if waits:
        rows = [
            (ask.bill_id, *waits[ask.bill_id][0], ask.item.request_id, ask.item.traceparent)
            for ask in new
            if ask.bill_id in waits
        ]
        await waiting.begin_waiting(tx.db, rows, taken_at=now)


_TAKEN = Done()


def _done(ask: Asked, decision: Decision) -> Done:
    if ask.pair is not None:
        return _TAKEN
    bill = ask.bill
    told = answer_of(
        ask.bill_id,
        merchant=bill.merchant,
        bill_ref=bill.bill_ref,
        occurred_at=bill.occurred_at,
        decision=decision,
    )
    return Done(202 if decision.status == "waiting" else 201, body(told))


# ---- repeats -----------------------------------------------------------------------------------


async def _answer_again(batch: Batch, repeats: Sequence[Asked]) -> None:
    """The first answer, once more: by HTTP with 200, to a till on its out stream under the first event's id. A till that repeats
    a bill which waited is told what it was told last, or is told when it is settled."""
    answers = await nets.first_answers(batch.tx.db, {ask.key for ask in repeats})
    settled = await _settled_since(batch.tx, repeats, answers)
    replies = Replies(batch.tx)
    for ask in repeats:
        first = answers[ask.key]
        since = settled.get(first.bill_id) if ask.pair is not None else None
        told = answer_of(
            first.bill_id,
            merchant=first.merchant,
            bill_ref=first.bill_ref,
            occurred_at=first.occurred_at,
            decision=first.decision if since is None else since.decision,
        )
        if ask.pair is None:
            batch.outcomes[ask.place] = Done(200, body(told))
            continue
        # Under the id it was first offered with, the reply is the first one; under another it names that other.
        same = ask.pair == (first.source, first.event_id)
        stream_id, source, event_id = (first.entry_id, *ask.pair) if same else ask.entry
        kind: type[BillRecorded] | type[BillSettled] = BillRecorded if since is None else BillSettled
        replies.add(
            kind(
                bill_id=told.bill_id,
                status=told.status,
                merchant=told.merchant,
                bill_ref=told.bill_ref,
                occurred_at=told.occurred_at,
                accruals=told.accruals,
                stream_id=stream_id,
                source=source,
                event_id=event_id,
            ),
            source=source,
            event_id=first.recorded_event_id if since is None else since.event_id,
            subject=str(first.bill_id),
            sequence=1 if since is None else since.sequence,
            time=first.recorded_at if since is None else since.at,
            item=ask.item,
        )
        batch.outcomes[ask.place] = Done(replayed=True)


async def _settled_since(
    tx: Tx, repeats: Sequence[Asked], answers: Mapping[tuple[str, str], FirstAnswer]
) -> dict[UUID, LastSettled]:
    """What was told later of those that tills repeat and that were answered to wait; who waits on will be told."""
    waited: set[UUID] = set()
    listening: list[tuple[UUID, Entry]] = []
    for ask in sorted(repeats, key=lambda ask: ask.place):
        first = answers[ask.key]
        if ask.pair is None or first.decision.status != "waiting":
            continue
        waited.add(first.bill_id)
        if ask.pair != (first.source, first.event_id):
            listening.append((first.bill_id, ask.offered))
    if listening:
        await listen_for_bills(tx.db, listening)
    return await waiting.last_settled(tx.db, waited) if waited else {}
