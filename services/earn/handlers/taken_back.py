"""What a referral gave is taken back when refunds leave less of its bill than the minimum: asked once, answered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.earn.domain.acts.act import ROLES
from services.earn.domain.acts.judge import ActJudged, decode_decision
from services.earn.domain.acts.referral import Refunded, fell_below
from services.earn.domain.refund import is_open
from services.earn.domain.versions import Versions, judged_by, those
from services.earn.store import counters
from services.earn.store import referrals as store
from services.earn.store.facts import known_programmes
from shared.events import PointsReversed, ReversalRefused, ReversalRequested
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Tx

_DONE = Done()


class ReviewReferral(msgspec.Struct, frozen=True):
    """Look whether what is left of this referral's bill still reaches the minimum."""

    member_id: UUID
    programme: str


class AskActAgain(msgspec.Struct, frozen=True):
    """Ask the bank again for what it was asked last before that time and has not answered."""

    request_id: UUID
    asked_before: datetime


async def review_referrals(tx: Tx, items: Sequence[Item[ReviewReferral]]) -> list[Outcome]:
    """Asks the bank to take back what was given where too little of the bill is left."""
    by_key = {(item.command.member_id, item.command.programme): item for item in items}
    reviews = await store.lock_reviews(tx.db, by_key)
    if not reviews:
        return [_DONE] * len(items)
    # A later statement: refunds that moved before we had the rows are seen, those after us mark the rows again.
    refunds: dict[UUID, list[Refunded]] = {}
    for row in await store.refunded_of(tx.db, {one.bill_id for one in reviews}):
        refunds.setdefault(row["bill_id"], []).append(
            Refunded(row["refund_id"], row["refunded_minor"], row["occurred_at"], row["total_minor"])
        )
    versions = await known_programmes(tx.db, tx.cache, those(reviews))
    fell = {
        f"{one.key[0]}/{one.key[1]}/{role}": (one, because)
        for one in reviews
        if (
            because := fell_below(
                one.amount_minor, one.minimum_minor, _within(one, versions, refunds.get(one.bill_id, ()))
            )
        )
        for role in ROLES
    }
    rows = []
    if fell:
        now = tx.now()
        earned = await store.accruals_of_acts(tx.db, list(fell))
        gave = [one for row in earned for one in decode_decision(row["decision"]).programmes]
        gave_by = await known_programmes(tx.db, tx.cache, those(gave))
        for row, judged in zip(earned, gave, strict=True):
            one, because = fell[row["act_ref"]]
            rows.append(
                store.Reversal(
                    accrual_id=row["accrual_id"],
                    request_id=uuid7(),
                    act_id=row["act_id"],
                    bill_id=one.bill_id,
                    refund_id=because.refund_id,
                    wallet_id=row["wallet_id"],
                    programme=judged.programme,
                    currency=judged.currency,
                    point_value=judged.point_value,
                    points=row["points"],
                    on_spent=judged_by(gave_by, judged).on_spent,
                    effective_at=because.occurred_at,
                    decided_at=now,
                    sequence=row["sequence"] + 1,
                )
            )
        asked = await store.ask_reversals(tx.db, rows) if rows else set()
        for reversal in rows:
            if reversal.accrual_id in asked:
                _ask(tx, items[0], reversal)
                after = {"refund_id": reversal.refund_id, "points": reversal.points}
                tx.audit("act.take_back", f"act/{reversal.act_id}", item=items[0], after=after)
    await store.mark_reviewed(tx.db, [one.key for one in reviews])
    return [_DONE] * len(items)


def _within(
    one: store.Review, versions: Mapping[str, Versions], refunds: Sequence[Refunded]
) -> list[Refunded]:
    """The refunds that its own programme's window was open for, whatever the windows of the bill's other programmes."""
    version = judged_by(versions, one)
    return [refund for refund in refunds if is_open(version, one.occurred_at, refund.occurred_at)]


def _ask(tx: Tx, item: Item[Any], one: store.Reversal) -> None:
    tx.emit(
        ReversalRequested(
            request_id=one.request_id,
            refund_id=None,  # the refund is another member's: its answers are none of this one's
            bill_id=one.bill_id,
            accrual_id=one.accrual_id,
            wallet_id=one.wallet_id,
            programme=one.programme,
            currency=one.currency,
            point_value=one.point_value,
            reverse_through=one.points,
            on_spent=one.on_spent,
            effective_at=one.effective_at,
            decided_at=one.decided_at,
        ),
        subject=str(one.act_id),
        sequence=one.sequence,
        item=item,
    )


async def hear_of_acts(tx: Tx, items: Sequence[Item[Any]]) -> dict[counters.Key, int]:
    """Keeps what the bank answered about acts; gives what caps and budgets get back of it."""
    told: dict[UUID, list[Any]] = {}
    for item in items:
        told.setdefault(item.command.request_id, []).append(item.command)
    rows = []
    back: dict[counters.Key, int] = {}
    for row in await store.lock_reversals(tx.db, told):
        status, through, code = row["status"], row["through"], None
        for answer in told[row["request_id"]]:
            match answer:
                case PointsReversed():
                    status, through = "reversed", max(through, answer.reversed_through)
                case ReversalRefused() if status == "asked":
                    status, code = "refused", answer.code
                case _:
                    pass
        if (status, through) == (row["status"], row["through"]):
            continue
        rows.append((row["request_id"], status, through, code if status == "refused" else None))
        [judged] = decode_decision(row["decision"]).programmes
        for key in _counted(judged):
            back[key] = back.get(key, 0) + through - row["through"]
        audited = {"status": status, "through": through}
        tx.audit("act.taken_back", f"act/{row['act_id']}", item=items[0], after=audited)
    if rows:
        await store.answer_reversals(tx.db, rows)
    return {key: points for key, points in back.items() if points}


def _counted(judged: ActJudged) -> list[counters.Key]:
    name = f"act:{judged.act}"
    keys: list[counters.Key] = [(judged.wallet_id, name, room.period, room.since) for room in judged.caps]
    keys += [(judged.wallet_id, "", room.period, room.since) for room in judged.member_caps]
    if judged.budget is not None:
        keys.append((judged.programme, name))
    return keys


async def ask_acts_again(tx: Tx, items: Sequence[Item[AskActAgain]]) -> list[Outcome]:
    """Tells the bank once more what it owes an answer to, under the same request id."""
    by_id = {item.command.request_id: item for item in items}
    asked = []
    for row in await store.lock_reversals(tx.db, by_id):
        item = by_id[row["request_id"]]
        if row["status"] != "asked" or row["asked_at"] >= item.command.asked_before:
            continue
        one = store.Reversal(
            **{name: row[name] for name in store.Reversal._fields if name not in ("refund_id", "sequence")},
            refund_id=None,
            sequence=row["sequence"] + 1,
        )
        _ask(tx, item, one)
        tx.audit("act.ask_again", f"act/{one.act_id}", item=item)
        asked.append(one.request_id)
    if asked:
        await store.ask_reversals_again(tx.db, asked)
    return [_DONE] * len(items)
