"""Waiting bills are settled when what they wait for was learned, and reported when it does not come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from services.earn.domain.decision import Awaited, Decision
from services.earn.domain.judge import Facts, waits_for
from services.earn.handlers.benefits import ask_benefits, gives
from services.earn.handlers.hold import HOLDING, Held, plan_holds
from services.earn.handlers.judging import judge_all
from services.earn.handlers.told import accrual_rows, tell, tell_accruals
from services.earn.handlers.wake import settle_wake
from services.earn.store import bills as bills_store
from services.earn.store import waiting
from services.earn.store.facts import facts_for
from services.earn.store.listeners import keep_settled
from shared.events import BillSettled
from shared.messaging import Done, Item, Outcome, Tx

GAP = timedelta(seconds=30)
"""A longer pause between two ticks is no waiting: nobody could have settled anything in it."""


class Settle(msgspec.Struct, frozen=True):
    """Judge this bill, if what it waits for is known."""

    bill_id: UUID


class ReportUnclaimed(msgspec.Struct, frozen=True):
    """Say that what this bill waits for did not come in time."""

    bill_id: UUID


class Tick(msgspec.Struct, frozen=True):
    """The clock of the deadline goes on; `runs` while earn has heard all that was told."""

    runs: bool


_DONE = Done()


async def settle_bills(tx: Tx, items: Sequence[Item[Settle]]) -> list[Outcome]:
    """Judges those bills that need wait no more, with what is known now; the others wait on."""
    by_id = {item.command.bill_id: item for item in items}
    locked = await waiting.lock_waiting(tx.db, by_id)
    if not locked:
        return [_DONE] * len(items)
    facts = await facts_for(tx.db, [one.bill for one in locked], tx.cache)
    waits = {one.bill_id: found for one in locked if (found := _waits_for(one, facts))}
    if waits:
        await waiting.lock_awaited(tx.db, {one for found in waits.values() for one in found})
        facts = await facts_for(tx.db, [one.bill for one in locked], tx.cache)
        waits = {one.bill_id: found for one in locked if (found := _waits_for(one, facts))}
        await waiting.wait_on(tx.db, [(bill_id, *found[0]) for bill_id, found in waits.items()])
    # They were taken then: how long they had to wait does not count against them.
    made = await judge_all(
        tx, [(one.bill_id, one.bill, facts, one.taken_at) for one in locked if one.bill_id not in waits]
    )
    now = tx.now()
    told: list[tuple[UUID, int, UUID, int]] = []
    decisions: list[bills_store.Row] = []
    accruals: list[bills_store.Row] = []
    held: list[Held] = []
    giving: list[tuple[UUID, datetime, Decision, Item[Any]]] = []
    for one in locked:
        if one.bill_id in waits:
            continue
        item = by_id[one.bill_id]
        item.request_id, item.traceparent = one.request_id, one.traceparent
        decision = next(made)
        sequence = tell_accruals(
            tx,
            item,
            bill_id=one.bill_id,
            subject=str(one.bill_id),
            bill=one.bill,
            decision=decision,
            now=now,
            sequence=one.sequence + 1,
        )
        told.append(_tell_settled(tx, item, one, decision, sequence))
        decisions.append(
            bills_store.decision_row(
                one.bill_id,
                decision,
                n=one.n + 1,
                decided_at=now,
                sequence=sequence,
            )
        )
        accruals += accrual_rows(one.bill_id, decision)
        if decision.status in HOLDING:
            held.append((one.bill_id, one.bill.occurred_at, decision, facts.programmes))
        if gives(decision):
            giving.append((one.bill_id, one.bill.occurred_at, decision, item))
        tx.audit("bill.settle", f"bill/{one.bill_id}", item=item, after={"status": decision.status})
    if decisions:
        await bills_store.write_decisions(tx.db, decisions)
        await keep_settled(tx.db, told)
        await bills_store.write_accruals(tx.db, accruals)
        await plan_holds(tx, held)
        await ask_benefits(tx, giving)
        await waiting.end_waiting(tx.db, [one.bill_id for one in locked if one.bill_id not in waits])
    return [_DONE] * len(items)


def _waits_for(one: waiting.WaitingBill, facts: Facts) -> tuple[Awaited, ...]:
    """What it waits for still. Once it waited for neither its merchant nor its terminal, that one was listed: it is taken."""
    return waits_for(one.bill, facts, taken=one.waits_for[0] not in {"merchant", "terminal"})


async def report_unclaimed(tx: Tx, items: Sequence[Item[ReportUnclaimed]]) -> list[Outcome]:
    """Reports bills that have waited too long, once. They wait on, and settle when what they wait for comes."""
    by_id = {item.command.bill_id: item for item in items}
    overdue = [one for one in await waiting.lock_waiting(tx.db, by_id) if not one.unclaimed and not one.ready]
    if come := await waiting.come_meanwhile(tx.db, {one.waits_for for one in overdue}):
        tx.after_commit(settle_wake(tx.cache).set)
        overdue = [one for one in overdue if one.waits_for not in come]
    if not overdue:
        return [_DONE] * len(items)
    now = tx.now()
    told: list[tuple[UUID, int, UUID, int]] = []
    decisions: list[bills_store.Row] = []
    for one in overdue:
        item = by_id[one.bill_id]
        item.request_id, item.traceparent = one.request_id, one.traceparent
        decision = Decision(status="unclaimed", waiting_for=(one.waits_for,))
        told.append(_tell_settled(tx, item, one, decision, one.sequence + 1))
        decisions.append(
            bills_store.decision_row(
                one.bill_id,
                decision,
                n=one.n + 1,
                decided_at=now,
                sequence=one.sequence + 1,
            )
        )
        tx.audit("bill.report_unclaimed", f"bill/{one.bill_id}", item=item)
    await bills_store.write_decisions(tx.db, decisions)
    await keep_settled(tx.db, told)
    await waiting.mark_unclaimed(tx.db, [one.bill_id for one in overdue])
    return [_DONE] * len(items)


async def tick(tx: Tx, items: Sequence[Item[Tick]]) -> list[Outcome]:
    """Lets the clock of the deadline go on."""
    runs = all(item.command.runs for item in items)
    await waiting.tick(tx.db, runs=runs, gap=GAP)
    return [_DONE] * len(items)


def _tell_settled(
    tx: Tx, item: Item[Any], one: waiting.WaitingBill, decision: Decision, sequence: int
) -> tuple[UUID, int, UUID, int]:
    event_id = tell(
        tx,
        item,
        BillSettled,
        bill_id=one.bill_id,
        subject=str(one.bill_id),
        bill=one.bill,
        decision=decision,
        entry=one.tellers[0] if one.tellers else (None, None, None),
        sequence=sequence,
        also=one.tellers[1:],
    )
    return one.bill_id, one.n + 1, event_id, len(one.tellers)
