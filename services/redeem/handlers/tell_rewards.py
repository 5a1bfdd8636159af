"""What is told, answered and noted of rewards and benefits."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

import msgspec

from services.redeem.domain.rewards import Benefit, Reward, Stock
from services.redeem.domain.shown import benefit_out, reward_out
from services.redeem.store.postings import Redemption
from services.redeem.store.rewards import issued_as
from shared.events import BenefitConsumed, RewardIssued
from shared.messaging import Done, Item, Tx
from shared.money import Money, Worth
from shared.programme.compiled import CompiledProgramme

_encode = msgspec.json.Encoder().encode


def reward_answer(stock: Stock, terms: CompiledProgramme) -> bytes:
    """A reward as it is answered, as JSON."""
    return _encode(reward_out(stock, terms))


def tell_issued(
    tx: Tx,
    item: Item[Any],
    terms: CompiledProgramme,
    reward: Reward,
    benefit: Benefit,
    row: Redemption,
    done: Done,
) -> Done:
    """Tells that a benefit was issued, and adds it to the redemption's answer: without its code, which is added to what goes
    out and kept nowhere."""
    subject = str(benefit.benefit_id)
    tx.emit(
        RewardIssued(
            benefit_id=benefit.benefit_id,
            redemption_id=row.redemption_id,
            posting_id=row.posting_id,
            wallet_id=benefit.wallet_id,
            member_id=benefit.member_id,
            programme=benefit.programme,
            reward=benefit.reward,
            version=benefit.version,
            kind=reward.kind,
            name=reward.name,
            tier=benefit.tier,
            merchant=row.merchant,
            redeemed=Worth(row.points, Money(row.money_minor, terms.currency)),
            unit_cost=Money(benefit.unit_cost_minor, terms.currency),
            issued_at=benefit.issued_at,
            expires_at=benefit.expires_at,
        ),
        subject=subject,
        sequence=1,
        item=item,
    )
    after = {"redemption_id": row.redemption_id, "reward": benefit.reward, "version": benefit.version}
    tx.audit("benefit.issue", f"benefit/{subject}", item=item, after=after)
    answer = msgspec.json.decode(done.body)
    answer["benefit"] = {
        "benefit_id": benefit.benefit_id,
        "reward": benefit.reward,
        "version": benefit.version,
        "kind": reward.kind,
        "name": reward.name,
        "expires_at": benefit.expires_at,
    }
    return dataclasses.replace(done, body=_encode(answer))


def tell_consumed(tx: Tx, item: Item[Any], row: Any) -> None:
    """Tells that a benefit, as it stands now, was used."""
    subject = str(row["benefit_id"])
    tx.emit(
        BenefitConsumed(
            benefit_id=row["benefit_id"],
            wallet_id=row["wallet_id"],
            member_id=row["member_id"],
            programme=row["programme"],
            reward=row["reward"],
            version=row["version"],
            kind=issued_as(row).kind,
            merchant=row["merchant"],
            terminal=row["terminal"],
            bill_ref=row["bill_ref"],
            unit_cost=Money(row["unit_cost_minor"], row["currency"]),
            consumed_at=row["consumed_at"],
        ),
        subject=subject,
        sequence=row["event_sequence"],
        item=item,
    )
    after = {"merchant": row["merchant"], "terminal": row["terminal"], "cashier": row["cashier"]}
    tx.audit("benefit.use", f"benefit/{subject}", item=item, after=after)


def benefit_answer(row: Any, now: datetime) -> bytes:
    """A benefit as it is answered, as JSON."""
    return _encode(benefit_out(row, issued_as(row), now))
