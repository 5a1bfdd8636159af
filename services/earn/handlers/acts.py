"""Acts besides bills are recorded, from the tills' stream, over HTTP and by the engine itself, and judged once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.earn.domain.acts.act import (
    TYPE,
    ActConflict,
    RecordAct,
    by_stream,
    command_of,
    read_act,
)
from services.earn.domain.acts.answer import answer_body
from services.earn.domain.acts.judge import ActDecision, admit, decide, waits_for, weigh
from services.earn.domain.judge import Facts
from services.earn.domain.offer import read_entry
from services.earn.domain.spoiled import Spoiled
from services.earn.handlers.batch import IdReused
from services.earn.handlers.entering import entered
from services.earn.handlers.reject import Rejected, reject, rejected_act
from services.earn.handlers.told import Replies, offered_by
from services.earn.handlers.wake import settle_wake
from services.earn.store import acts as store
from services.earn.store import counters, nets, waiting
from services.earn.store.facts import facts_for_acts
from services.earn.store.listeners import Entry, keep_settled, listen_for_acts
from shared.errors import Refusal
from shared.events import ActRecorded, ActSettled, PointsAccrued
from shared.events.bills import AccruedLot
from shared.ids import uuid7
from shared.messaging import Done, FromDeadLetter, Item, Outcome, PosAct, Refused, Tx

_DONE = Done()


class SettleAct(msgspec.Struct, frozen=True):
    """Judge this act, if what it waits for is known."""

    act_id: UUID


class ReportActUnclaimed(msgspec.Struct, frozen=True):
    """Say that what this act waits for did not come in time."""

    act_id: UUID


@dataclass(slots=True, eq=False)
class Asked:
    """An item whose act could be read. `pair`: the teller's own source and id, None where no entry told of it. `waits`: its
    programme was not known when it was read."""

    place: int
    item: Item[Any]
    act: RecordAct
    act_id: UUID
    pair: tuple[str, str] | None = None
    waits: bool = False

    @property
    def entry(self) -> store.Entry:
        return (self.item.command.entry_id, *self.pair) if self.pair is not None else (None, None, None)


class _Batch:
    def __init__(self, tx: Tx, items: Sequence[Item[Any]]) -> None:
        self.tx, self.items = tx, items
        self.outcomes: list[Outcome | None] = [None] * len(items)
        self.rejections: list[tuple[int, Rejected, Refusal]] = []
        self.repeats: list[tuple[Asked, UUID]] = []

    def refuse(self, ask: Asked, refusal: Refusal) -> None:
        if ask.pair is None:
            self.outcomes[ask.place] = Refused(refusal)
            return
        spoiled = Spoiled(refusal, *ask.pair, merchant=ask.act.merchant, act_ref=ask.act.act_ref)
        self.spoiled(ask.place, spoiled, ask.act.content_hash)

    def spoiled(self, place: int, spoiled: Spoiled, content: bytes | None = None) -> None:
        self.rejections.append((place, rejected_act(self.items[place], spoiled, content), spoiled.refusal))


async def record_acts(tx: Tx, items: Sequence[Item[PosAct | RecordAct]]) -> list[Outcome]:
    """Records acts, each once, and judges those that wait for nothing; refuses what no programme takes."""
    batch = _Batch(tx, items)
    asked = _read(batch)
    if asked:
        await _by_their_first_hash(batch, asked)
        facts = await facts_for_acts(tx.db, [ask.act for ask in asked], tx.cache)
        now = tx.now()
        admitted = await _admit(batch, asked, facts, now)
        new = await _claim(batch, admitted) if admitted else []
        if new:
            made = await record_new(tx, new, facts, now)
            for ask in new:
                batch.outcomes[ask.place] = _done(ask, made[ask.act_id])
        if batch.repeats:
            await _answer_again(batch)
    for (place, _, refusal), repeated in zip(
        batch.rejections, await reject(tx, [one for _, one, _ in batch.rejections]), strict=True
    ):
        again = repeated and not isinstance(items[place].origin, FromDeadLetter)
        batch.outcomes[place] = Refused(refusal, replayed=again)
    return [outcome for outcome in batch.outcomes if outcome is not None]


def _read(batch: _Batch) -> list[Asked]:
    """What could be read."""
    asked: list[Asked] = []
    tenant = batch.tx.tenant
    for place, item in enumerate(batch.items):
        if isinstance(item.command, RecordAct):
            asked.append(Asked(place, item, item.command, uuid7()))
            continue
        event = item.command.event or b""
        found = read_entry(event, tenant=tenant.code, type_=TYPE, read=read_act)
        if isinstance(found, Spoiled):
            entered(batch.tx, item, found, TYPE)
            batch.spoiled(place, found)
            continue
        entry, body = found
        entered(batch.tx, item, entry, TYPE)
        try:
            act = command_of(body, tenant.identity_key, told_by=by_stream(entry.source))
        except Refusal as refusal:
            named = Spoiled(refusal, entry.source, entry.event_id, body.merchant, act_ref=body.act_ref)
            batch.spoiled(place, named)
        else:
            asked.append(Asked(place, item, act, uuid7(), (entry.source, entry.event_id)))
    return asked


async def _by_their_first_hash(batch: _Batch, asked: Sequence[Asked]) -> None:
    """Acts were kept by their data as it was sent, before 5.0 was 5: those that are sent so again go by that hash."""
    changed = [ask for ask in asked if ask.act.hash_as_sent is not None]
    if not changed:
        return
    acts = await store.contents(batch.tx.db, {ask.act.key for ask in changed})
    offered = {ask.pair for ask in changed if ask.pair is not None}
    pairs = await nets.pos_contents(batch.tx.db, offered) if offered else {}
    for ask in changed:
        sent, (content, _) = ask.act.hash_as_sent, acts.get(ask.act.key, (None, None))
        if sent is not None and (sent == content or (ask.pair is not None and sent == pairs.get(ask.pair))):
            ask.act = msgspec.structs.replace(ask.act, content_hash=sent)


async def _admit(batch: _Batch, asked: Sequence[Asked], facts: Facts, now: datetime) -> list[Asked]:
    """Those that are taken. An act that was taken before is answered again, whatever has changed."""
    admitted = []
    refused: list[tuple[Asked, Refusal]] = []
    for ask in asked:
        try:
            admit(ask.act, facts, now)
        except Refusal as refusal:
            refused.append((ask, refusal))
        else:
            admitted.append(ask)
    known = await store.contents(batch.tx.db, {ask.act.key for ask, _ in refused}) if refused else {}
    for ask, why in refused:
        content, act_id = known.get(ask.act.key, (b"", ask.act_id))
        if content == ask.act.content_hash:
            batch.repeats.append((ask, act_id))
        else:
            batch.refuse(ask, why)
    return admitted


async def _claim(batch: _Batch, asked: Sequence[Asked]) -> list[Asked]:
    """The acts that are new, from now on taken; the two nets are those of bills."""
    tx = batch.tx
    first: dict[tuple[str, str], Asked] = {}
    for ask in asked:
        if ask.pair is not None:
            first.setdefault(ask.pair, ask)
    used: dict[tuple[str, str], bytes] = {}
    if first:
        offers = [(*pair, ask.act.content_hash) for pair, ask in first.items()]
        fresh = await nets.claim_pos_events(tx.db, offers)
        used = await nets.pos_contents(tx.db, [pair for pair in first if pair not in fresh])
    by_key: dict[tuple[str, str], Asked] = {}
    others: list[Asked] = []
    for ask in asked:
        content = ask.act.content_hash
        if ask.pair is not None and used.get(ask.pair, first[ask.pair].act.content_hash) != content:
            batch.refuse(ask, IdReused())
        elif by_key.setdefault(ask.act.key, ask) is not ask:
            others.append(ask)
    new: list[Asked] = []
    if by_key:
        taken = await store.claim_keys(tx.db, [(ask.act_id, ask.act) for ask in by_key.values()])
        new = [ask for ask in by_key.values() if ask.act_id in taken]
        others += [ask for ask in by_key.values() if ask.act_id not in taken]
    known = await store.contents(tx.db, {ask.act.key for ask in others}) if others else {}
    for ask in others:
        content, act_id = known[ask.act.key]
        if content == ask.act.content_hash:
            batch.repeats.append((ask, act_id))
        else:
            said = "Another act was recorded with this reference."
            batch.refuse(ask, ActConflict(said, pointer="/act_ref"))
    return new


# ---- new acts ----------------------------------------------------------------------------------


async def record_new(tx: Tx, new: Sequence[Asked], facts: Facts, now: datetime) -> dict[UUID, ActDecision]:
    """Writes and tells these acts, whose keys this transaction has taken; gives what was decided about each."""
    waits = {ask.act_id: found for ask in new if (found := waits_for(ask.act, facts))}
    if waits:
        # Whoever learns one of these meets us at its row; what was learned before we got there is seen from here on.
        await waiting.lock_awaited(tx.db, {one for found in waits.values() for one in found})
        facts = await facts_for_acts(tx.db, [ask.act for ask in new], tx.cache)
        waits = {ask.act_id: found for ask in new if (found := waits_for(ask.act, facts))}
    decisions = await _judge(
        tx, [(ask.act_id, ask.act, now) for ask in new if ask.act_id not in waits], facts
    )
    act_rows: list[store.Row] = []
    decision_rows: list[store.Row] = []
    accruals: list[store.Row] = []
    for ask in new:
        act_id = ask.act_id
        if act_id in waits:
            decisions[act_id] = ActDecision(status="waiting", waiting_for=waits[act_id])
        decision = decisions[act_id]
        event_id = _tell(tx, ask.item, ActRecorded, act_id, ask.act, decision, ask.entry, sequence=1)
        following = _tell_accruals(tx, ask.item, act_id, ask.act, decision, now, sequence=2)
        tx.audit("act.record", f"act/{act_id}", item=ask.item, after={"status": decision.status})
        act_rows.append(store.act_row(act_id, ask.act, recorded_event_id=event_id, entry=ask.entry))
        decision_rows.append(
            store.decision_row(act_id, decision, n=1, decided_at=now, sequence=following - 1)
        )
        accruals += store.accrual_rows(act_id, decision)
    await store.write_acts(tx.db, act_rows)
    await store.write_decisions(tx.db, decision_rows, accruals)
    if waits:
        items = {ask.act_id: ask.item for ask in new}
        rows = [
            (act_id, *found[0], items[act_id].request_id, items[act_id].traceparent)
            for act_id, found in waits.items()
        ]
        await store.begin_waiting(tx.db, rows, taken_at=now)
    return decisions


async def _judge(
    tx: Tx, acts: Sequence[tuple[UUID, RecordAct, datetime]], facts: Facts
) -> dict[UUID, ActDecision]:
    """The decisions about (act_id, act, when it was taken), in this order. Takes caps and budgets: nothing is locked after."""
    weighed = {act_id: weigh(act, facts, at) for act_id, act, at in acts}
    keys = {key for one in weighed.values() for key in one.counters()}
    spent = await counters.hold(tx.db, keys) if keys else {}
    before = dict(spent)
    decisions = {act_id: decide(one, uuid7, spent) for act_id, one in weighed.items()}
    decided = {
        key: points - before.get(key, 0) for key, points in spent.items() if points != before.get(key, 0)
    }
    if decided:
        await counters.count(tx.db, decided=decided)
    return decisions


def _tell(
    tx: Tx,
    item: Item[Any],
    kind: type[ActRecorded] | type[ActSettled],
    act_id: UUID,
    act: RecordAct,
    decision: ActDecision,
    entry: store.Entry,
    *,
    sequence: int,
    also: Sequence[Entry] = (),
) -> UUID:
    said: ActRecorded | ActSettled = kind(
        act_id=act_id,
        status=decision.status,
        act=act.act,
        act_ref=act.act_ref,
        merchant=act.merchant,
        occurred_at=act.occurred_at,
        accruals=decision.told(),
        stream_id=entry[0],
        source=entry[1],
        event_id=entry[2],
    )
    if also:
        said = msgspec.structs.replace(said, also_offered_by=offered_by(also))
    return tx.emit(said, subject=str(act_id), sequence=sequence, item=item)


def _tell_settled(
    tx: Tx, item: Item[Any], one: store.WaitingAct, decision: ActDecision, *, sequence: int
) -> tuple[UUID, int, UUID, int]:
    entry = one.tellers[0] if one.tellers else (None, None, None)
    event_id = _tell(
        tx,
        item,
        ActSettled,
        one.act_id,
        one.act,
        decision,
        entry,
        sequence=sequence,
        also=one.tellers[1:],
    )
    return one.act_id, one.n + 1, event_id, len(one.tellers)


def _tell_accruals(
    tx: Tx,
    item: Item[Any],
    act_id: UUID,
    act: RecordAct,
    decision: ActDecision,
    now: datetime,
    *,
    sequence: int,
) -> int:
    for judged in decision.programmes:
        for accrual in judged.accruals:
            assert decision.member_id is not None
            lot = AccruedLot(lot_id=accrual.lot_id, points=accrual.points, expires_at=accrual.expires_at)
            tx.emit(
                PointsAccrued(
                    accrual_id=accrual.accrual_id,
                    kind=accrual.kind,
                    bill_id=None,
                    act_id=act_id,
                    member_id=decision.member_id,
                    wallet_id=judged.wallet_id,
                    programme=judged.programme,
                    programme_version=judged.version,
                    currency=judged.currency,
                    point_value=judged.point_value,
                    effective_at=act.occurred_at,
                    decided_at=now,
                    points=accrual.points,
                    lots=(lot,),
                ),
                subject=str(act_id),
                sequence=sequence,
                item=item,
            )
            sequence += 1
    return sequence


def _done(ask: Asked, decision: ActDecision) -> Done:
    if ask.pair is not None:
        return _DONE
    body = answer_body(ask.act_id, msgspec.structs.asdict(ask.act), decision)
    return Done(202 if decision.status == "waiting" else 201, body)


async def _answer_again(batch: _Batch) -> None:
    """The first answer, once more: by HTTP with 200, by stream on the teller's out stream under the first event's id. A teller that
    repeats an act which waited is told what was told last, or is told when it is settled."""
    answers = await store.first_answers(batch.tx.db, {act_id for _, act_id in batch.repeats})
    settled = await _settled_since(batch, answers)
    replies = Replies(batch.tx)
    for ask, act_id in batch.repeats:
        first = answers[act_id]
        if ask.pair is None:
            batch.outcomes[ask.place] = Done(200, answer_body(act_id, first._asdict(), first.decision))
            continue
        since = settled.get(act_id)
        decision = first.decision if since is None else since.decision
        kind: type[ActRecorded] | type[ActSettled] = ActRecorded if since is None else ActSettled
        stream_id, source, event_id = first.entry if ask.pair == first.entry[1:] else ask.entry
        replies.add(
            kind(
                act_id=act_id,
                status=decision.status,
                act=first.act,
                act_ref=first.act_ref,
                merchant=first.merchant,
                occurred_at=first.occurred_at,
                accruals=decision.told(),
                stream_id=stream_id,
                source=source,
                event_id=event_id,
            ),
            source=ask.pair[0],
            event_id=first.recorded_event_id if since is None else since.event_id,
            subject=str(act_id),
            sequence=1 if since is None else since.sequence,
            time=first.recorded_at if since is None else since.at,
            item=ask.item,
        )
        batch.outcomes[ask.place] = Done(replayed=True)


async def _settled_since(
    batch: _Batch, answers: Mapping[UUID, store.FirstAnswer]
) -> dict[UUID, store.LastSettled]:
    """What was told later of those that tellers repeat and that were answered to wait; who waits on will be told."""
    waited: set[UUID] = set()
    listening: list[tuple[UUID, Entry]] = []
    for ask, act_id in sorted(batch.repeats, key=lambda repeat: repeat[0].place):
        first = answers[act_id]
        if ask.pair is None or first.decision.status != "waiting":
            continue
        waited.add(act_id)
        if ask.pair != first.entry[1:]:
            listening.append((act_id, (ask.item.command.entry_id, *ask.pair)))
    if listening:
        await listen_for_acts(batch.tx.db, listening)
    return await store.last_settled(batch.tx.db, waited) if waited else {}


# ---- acts that waited --------------------------------------------------------------------------


async def settle_acts(tx: Tx, items: Sequence[Item[SettleAct]]) -> list[Outcome]:
    """Judges those acts that need wait no more, with what is known now; the others wait on."""
    by_id = {item.command.act_id: item for item in items}
    locked = await store.lock_waiting(tx.db, by_id)
    if not locked:
        return [_DONE] * len(items)
    facts = await facts_for_acts(tx.db, [one.act for one in locked], tx.cache)
    waits = {one.act_id: found for one in locked if (found := waits_for(one.act, facts))}
    if waits:
        await waiting.lock_awaited(tx.db, {one for found in waits.values() for one in found})
        facts = await facts_for_acts(tx.db, [one.act for one in locked], tx.cache)
        waits = {one.act_id: found for one in locked if (found := waits_for(one.act, facts))}
        await store.wait_on(tx.db, [(act_id, *found[0]) for act_id, found in waits.items()])
    # They were taken then: how long they had to wait does not count against them.
    over = [one for one in locked if one.act_id not in waits]
    decisions = await _judge(tx, [(one.act_id, one.act, one.taken_at) for one in over], facts)
    now = tx.now()
    told: list[tuple[UUID, int, UUID, int]] = []
    rows: list[store.Row] = []
    accruals: list[store.Row] = []
    for one in over:
        item = by_id[one.act_id]
        item.request_id, item.traceparent = one.request_id, one.traceparent
        decision = decisions[one.act_id]
        sequence = _tell_accruals(tx, item, one.act_id, one.act, decision, now, sequence=one.sequence + 1)
        told.append(_tell_settled(tx, item, one, decision, sequence=sequence))
        rows.append(store.decision_row(one.act_id, decision, n=one.n + 1, decided_at=now, sequence=sequence))
        accruals += store.accrual_rows(one.act_id, decision)
        tx.audit("act.settle", f"act/{one.act_id}", item=item, after={"status": decision.status})
    if over:
        await store.write_decisions(tx.db, rows, accruals)
        await keep_settled(tx.db, told)
        await store.end_waiting(tx.db, [one.act_id for one in over])
    return [_DONE] * len(items)


async def report_acts_unclaimed(tx: Tx, items: Sequence[Item[ReportActUnclaimed]]) -> list[Outcome]:
    """Reports acts that have waited too long, once. They wait on, and settle when what they wait for comes."""
    by_id = {item.command.act_id: item for item in items}
    overdue = [one for one in await store.lock_waiting(tx.db, by_id) if not one.unclaimed and not one.ready]
    if come := await waiting.come_meanwhile(tx.db, {one.waits_for for one in overdue}):
        tx.after_commit(settle_wake(tx.cache).set)
        overdue = [one for one in overdue if one.waits_for not in come]
    if not overdue:
        return [_DONE] * len(items)
    now = tx.now()
    told: list[tuple[UUID, int, UUID, int]] = []
    rows: list[store.Row] = []
    for one in overdue:
        item = by_id[one.act_id]
        item.request_id, item.traceparent = one.request_id, one.traceparent
        decision = ActDecision(status="unclaimed", waiting_for=(one.waits_for,))
        sequence = one.sequence + 1
        told.append(_tell_settled(tx, item, one, decision, sequence=sequence))
        rows.append(store.decision_row(one.act_id, decision, n=one.n + 1, decided_at=now, sequence=sequence))
        tx.audit("act.report_unclaimed", f"act/{one.act_id}", item=item)
    await store.write_decisions(tx.db, rows, [])
    await keep_settled(tx.db, told)
    await store.mark_unclaimed(tx.db, [one.act_id for one in overdue])
    return [_DONE] * len(items)
