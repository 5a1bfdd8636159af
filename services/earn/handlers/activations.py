"""Tills tell of activations by their stream: each once, also before the bill itself has come; what waits for them is released."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.earn.domain.activation import TYPE, TellActivation, Told, admit, read_activation
from services.earn.domain.offer import read_entry
from services.earn.domain.spoiled import Spoiled
from services.earn.handlers.batch import IdReused
from services.earn.handlers.entering import entered
from services.earn.handlers.hold import release_bills
from services.earn.handlers.reject import Rejected, reject, rejected
from services.earn.handlers.told import Replies, offered_by
from services.earn.store import activations as store
from services.earn.store import holds, nets
from services.earn.store.listeners import Entry, keep_settled, listen_for_activations, tellers_of
from shared.errors import Refusal
from shared.events import ActivationRecorded, ActivationSettled
from shared.ids import uuid7
from shared.messaging import Done, FromDeadLetter, Item, Outcome, PosActivation, Refused, Tx

AT_ONCE = 200
_TAKEN = Done()


class TakeUpActivations(msgspec.Struct, frozen=True):
    """Take up some activations whose bills have come after them."""


class _Asked(NamedTuple):
    place: int
    item: Item[Any]
    told: TellActivation
    pair: tuple[str, str]


async def tell_activations(tx: Tx, items: Sequence[Item[PosActivation]]) -> list[Outcome]:
    """Keeps the first word about each bill, answers every one, and releases what waits for those whose bills are there."""
    outcomes: list[Outcome] = [_TAKEN] * len(items)
    refused: list[tuple[int, Rejected, Refusal]] = []
    asked = [one for place, item in enumerate(items) if (one := _read(tx, place, item, refused))]
    taken = await _claim(tx, asked, refused)
    if taken:
        await _tell(tx, taken, outcomes)
    repeated = await reject(tx, [one for _, one, _ in refused])
    for (place, _, why), before in zip(refused, repeated, strict=True):
        again = before and not isinstance(items[place].origin, FromDeadLetter)
        outcomes[place] = Refused(why, replayed=again)
    return outcomes


def _read(
    tx: Tx, place: int, item: Item[PosActivation], refused: list[tuple[int, Rejected, Refusal]]
) -> _Asked | None:
    found = read_entry(item.command.event or b"", tenant=tx.tenant.code, type_=TYPE, read=read_activation)
    if isinstance(found, Spoiled):
        entered(tx, item, found, TYPE)
        # What can't be read is about its entry, not about a bill.
        why = Spoiled(found.refusal, found.source, found.event_id)
        refused.append((place, rejected(item, why), found.refusal))
        return None
    entry, told = found
    entered(tx, item, entry, TYPE)
    one = _Asked(place, item, told, (entry.source, entry.event_id))
    try:
        admit(told, tx.now())
    except Refusal as refusal:
        refused.append((place, _rejected(one, refusal), refusal))
        return None
    return one


def _rejected(one: _Asked, refusal: Refusal) -> Rejected:
    why = Spoiled(refusal, *one.pair, one.told.bill_merchant, one.told.bill_ref)
    return rejected(one.item, why, one.told.content_hash)


async def _claim(
    tx: Tx, asked: Sequence[_Asked], refused: list[tuple[int, Rejected, Refusal]]
) -> list[_Asked]:
    """Those whose id was not used by their source for something else."""
    first: dict[tuple[str, str], _Asked] = {}
    for one in asked:
        first.setdefault(one.pair, one)
    if not first:
        return []
    fresh = await nets.claim_pos_events(
        tx.db, [(*pair, one.told.content_hash) for pair, one in first.items()]
    )
    known = await nets.pos_contents(tx.db, [pair for pair in first if pair not in fresh])
    taken = []
    for one in asked:
        if known.get(one.pair, first[one.pair].told.content_hash) == one.told.content_hash:
            taken.append(one)
            continue
        why = IdReused()
        refused.append((one.place, _rejected(one, why), why))
    return taken


async def _tell(tx: Tx, taken: Sequence[_Asked], outcomes: list[Outcome]) -> None:
    now = tx.now()
    new: dict[store.Reference, tuple[Told, _Asked]] = {}
    for one in taken:
        if one.told.reference not in new:
            new[one.told.reference] = _first_word(one, now), one
    await store.tell(tx.db, [told for told, _ in new.values()], recorded_at=now)
    known = await _heard(tx, taken, await store.told(tx.db, new))
    activated: dict[UUID, Item[Any]] = {}
    replies = Replies(tx)
    for one in taken:
        kept = known[one.told.reference]
        mine, by = new[one.told.reference]
        if kept.recorded_event_id == mine.recorded_event_id and by is one:
            said = _answer(ActivationRecorded, kept, None if kept.waited else kept.bill_id)
            tx.emit(said, subject=kept.subject, sequence=1, item=one.item, event_id=kept.recorded_event_id)
            tx.audit("bill.tell_activation", kept.subject, item=one.item)
            if kept.bill_id is not None:
                activated[kept.bill_id] = one.item
        else:
            _reply(replies, kept, one)
            outcomes[one.place] = Done(replayed=True)
    await _activate(tx, activated, now)


async def _heard(
    tx: Tx, taken: Sequence[_Asked], known: dict[store.Reference, Told]
) -> dict[store.Reference, Told]:
    """Where these stand. Who else tells of one whose bill has not come is told when it has."""
    listening = [
        (one.told.reference, (one.item.command.entry_id, *one.pair))
        for one in taken
        if known[one.told.reference].bill_id is None and one.pair != known[one.told.reference].entry[1:]
    ]
    if not listening:
        return known
    await listen_for_activations(tx.db, listening)
    return await store.told(tx.db, known)


def _first_word(one: _Asked, now: datetime) -> Told:
    merchant, bill_ref = one.told.reference
    return Told(
        merchant=merchant,
        bill_ref=bill_ref,
        occurred_at=one.told.occurred_at,
        stream_id=one.item.command.entry_id,
        source=one.pair[0],
        event_id=one.pair[1],
        request_id=one.item.request_id,
        traceparent=one.item.traceparent,
        recorded_event_id=uuid7(),
        recorded_at=now,
        waited=True,
        bill_id=None,
    )


def _answer(
    kind: type[ActivationRecorded] | type[ActivationSettled],
    kept: Told,
    bill_id: UUID | None,
    entry: Entry | None = None,
) -> ActivationRecorded | ActivationSettled:
    stream_id, source, event_id = entry or kept.entry
    return kind(
        bill_id=bill_id,
        status="waiting_for_bill" if bill_id is None else "activated",
        merchant=kept.merchant,
        bill_ref=kept.bill_ref,
        occurred_at=kept.occurred_at,
        stream_id=stream_id,
        source=source,
        event_id=event_id,
    )


def _reply(replies: Replies, kept: Told, one: _Asked) -> None:
    """What stands, once more, under the id under which it was said; with the entry that asks."""
    same = one.pair == kept.entry[1:]
    entry = None if same else (one.item.command.entry_id, *one.pair)
    since = kept.settled_event_id is not None
    bill_id = kept.bill_id if since or not kept.waited else None
    replies.add(
        _answer(ActivationSettled if since else ActivationRecorded, kept, bill_id, entry),
        source=one.pair[0],
        event_id=kept.settled_event_id or kept.recorded_event_id,
        subject=kept.subject,
        sequence=2 if since else 1,
        time=kept.settled_at or kept.recorded_at,
        item=one.item,
    )


async def take_up_activations(tx: Tx, items: Sequence[Item[TakeUpActivations]]) -> list[Outcome]:
    """Answers with how many were taken up; asked again until none is."""
    now, arrived = tx.now(), await store.lock_arrived(tx.db, most=AT_ONCE)
    tellers = (
        await tellers_of(tx.db, [(one.recorded_event_id, *one.entry) for one in arrived]) if arrived else {}
    )
    settled: list[tuple[Told, UUID]] = []
    activated: dict[UUID, Item[Any]] = {}
    for kept in arrived:
        item = _on_behalf_of(kept, items[0])
        settled.append((kept, _tell_settled(tx, item, kept, tellers[kept.recorded_event_id][1:])))
        assert kept.bill_id is not None
        activated[kept.bill_id] = item
    if settled:
        await store.settle(tx.db, settled, settled_at=now)
        told = [
            (kept.recorded_event_id, 2, said, len(tellers[kept.recorded_event_id])) for kept, said in settled
        ]
        if to_others := [one for one in told if one[-1] > 1]:
            await keep_settled(tx.db, to_others)
        await _activate(tx, activated, now)
    return [Done(200, b"%d" % (len(settled) if place == 0 else 0)) for place, _ in enumerate(items)]


def _tell_settled(tx: Tx, item: Item[Any], kept: Told, also: Sequence[Entry]) -> UUID:
    said = _answer(ActivationSettled, kept, kept.bill_id)
    if also:
        said = msgspec.structs.replace(said, also_offered_by=offered_by(also))
    return tx.emit(said, subject=kept.subject, sequence=2, item=item)


def _on_behalf_of(kept: Told, item: Item[Any]) -> Item[Any]:
    return Item(
        None,
        item.origin,
        request_id=kept.request_id,
        actor=kept.source,
        causation_id=item.causation_id,
        source=kept.source,
        event_id=kept.event_id,
        place=item.place,
        traceparent=kept.traceparent,
    )


async def _activate(tx: Tx, bills: dict[UUID, Item[Any]], now: datetime) -> None:
    """Notes that these bills are activated, as a call by HTTP does, and releases what waits for it; what still waits to be judged
    is released when it is."""
    if not bills:
        return
    await holds.activate(tx.db, [(bill_id, now) for bill_id in sorted(bills)])
    for bill_id, item in bills.items():
        tx.audit("bill.activate", f"bill/{bill_id}", item=item)
    await release_bills(tx, bills, now)
