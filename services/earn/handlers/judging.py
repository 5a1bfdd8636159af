"""Bills that wait for nothing become decisions, and what they are given is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from services.earn.domain.bill import RecordBill
from services.earn.domain.decision import Decision, Judged
from services.earn.domain.giving_back import given_back
from services.earn.domain.judge import Facts, decide, judged_alone, weigh
from services.earn.handlers.guarding import guard, keep
from services.earn.handlers.referrals import decide_referrals, hold_undecided
from services.earn.store import benefits, counters
from services.earn.store.facts import activity_for
from shared.ids import uuid7
from shared.messaging import Tx


async def judge_all(tx: Tx, bills: Sequence[tuple[UUID, RecordBill, Facts, datetime]]) -> Iterator[Decision]:
    """The decisions about (bill_id, bill, what is known, when it was taken), in this order: of two that want the last points
    of a budget the first has them. Where nothing but the bill decides, each is made when it is asked for: what the bill
    consists of is then at hand for all that is done with it.

    Takes the referrals that they may decide, then the wallets whose earlier bills are asked for, terminals that guards count at,
    then stamp cards, then caps and budgets: nothing is locked after that. Whoever else wants of the same budget waits until the
    commit; bills that no campaign with a cap or budget is for, no stamp card and no referral, lock nothing.
    """
    undecided = await hold_undecided(tx, bills)
    activity = await activity_for(tx.db, [(bill, facts) for _, bill, facts, _ in bills])
    if undecided is None and all(
        judged_alone(known) for known in {id(f): f.programmes for _, _, f, _ in bills}.values()
    ):
        return (decide(weigh(bill, facts, at, activity), uuid7, {}) for _, bill, facts, at in bills)
    weighed = {bill_id: weigh(bill, facts, at, activity) for bill_id, bill, facts, at in bills}
    seen = await guard(tx, weighed)
    stamped = {key for one in weighed.values() for key in one.cards()}
    cards = await benefits.hold_cards(tx.db, stamped) if stamped else {}
    stamps_before = dict(cards)
    keys = {key for one in weighed.values() for key in one.counters()}
    spent = await counters.hold(tx.db, keys) if keys else {}
    before = dict(spent)
    decisions = {
        bill_id: decide(one, uuid7, spent, cards, seen.get(bill_id)) for bill_id, one in weighed.items()
    }
    if seen:
        await keep(tx, {bill_id: (weighed[bill_id].bill, decisions[bill_id]) for bill_id in seen})
    decided = {
        key: points - before.get(key, 0) for key, points in spent.items() if points != before.get(key, 0)
    }
    if decided:
        await counters.count(tx.db, decided=decided)
    if stamped:
        await benefits.move_cards(tx.db, cards, before=stamps_before)
    if undecided is not None:
        await decide_referrals(tx, bills, decisions, undecided)
    return iter(decisions.values())


async def give_back(
    tx: Tx, taken: Sequence[tuple[Judged, UUID, int, int]], of_acts: Mapping[counters.Key, int]
) -> None:
    """Gives back to budgets and caps what was taken of (decision for a wallet, accrual, points before, points through):
    cumulative, as the bank's replies are; and what was taken `of_acts`. A repeat with the same `through` gives nothing back; the
    caller keeps `before` in this transaction. Takes the last locks, all at once."""
    back: dict[counters.Key, int] = dict(of_acts)
    for judged, accrual_id, before, through in taken:
        for key, points in given_back(judged, accrual_id, before=before, through=through).items():
            back[key] = back.get(key, 0) + points
    if back:
        await counters.hold(tx.db, back)
        await counters.count(tx.db, given_back=back)
