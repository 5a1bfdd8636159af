"""What is told and noted of benefits that were given, and of those that end unused."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.redeem.domain.rewards import Benefit, Reward
from services.redeem.store.rewards import issued_as
from shared.events import BenefitAnswered, BenefitExpired, BenefitIssued, BenefitSource, BenefitWithdrawn
from shared.messaging import Item, Tx
from shared.money import Money


def tell_given(
    tx: Tx, item: Item[Any], reward: Reward, benefit: Benefit, currency: str, source: BenefitSource | None
) -> None:
    """A benefit that nobody bought."""
    subject = str(benefit.benefit_id)
    tx.emit(
        BenefitIssued(
            benefit_id=benefit.benefit_id,
            wallet_id=benefit.wallet_id,
            member_id=benefit.member_id,
            programme=benefit.programme,
            reward=benefit.reward,
            version=benefit.version,
            kind=reward.kind,
            name=reward.name,
            origin=benefit.origin,
            effect_id=benefit.asked_by,
            source=source,
            unit_cost=Money(benefit.unit_cost_minor, currency),
            issued_at=benefit.issued_at,
            expires_at=benefit.expires_at,
        ),
        subject=subject,
        sequence=1,
        item=item,
    )
    after = {"origin": benefit.origin, "reward": benefit.reward, "version": benefit.version}
    tx.audit(
        "benefit.issue", f"benefit/{subject}", item=item, after={**after, "wallet_id": benefit.wallet_id}
    )


def tell_answered(
    tx: Tx, item: Item[Any], effect_id: UUID, outcome: Any, benefit_id: UUID | None, code: str | None = None
) -> None:
    """The answer to what earn asked."""
    tx.emit(
        BenefitAnswered(effect_id=effect_id, outcome=outcome, benefit_id=benefit_id, code=code),
        subject=str(effect_id),
        sequence=1,
        item=item,
    )
    after = {"outcome": outcome, "benefit_id": benefit_id, "code": code}
    tx.audit("benefit.answer", f"benefit_ask/{effect_id}", item=item, after=after)


def tell_withdrawn(tx: Tx, item: Item[Any], row: Any) -> None:
    """A benefit, as it stands now, was taken back."""
    subject = str(row["benefit_id"])
    tx.emit(
        BenefitWithdrawn(**_of(row), withdrawn_at=row["withdrawn_at"], restocked=row["restocked"]),
        subject=subject,
        sequence=row["event_sequence"],
        item=item,
    )
    tx.audit("benefit.withdraw", f"benefit/{subject}", item=item, after={"restocked": row["restocked"]})


def tell_lapsed(tx: Tx, item: Item[Any], row: Any) -> None:
    """A benefit, as it stands now, expired unused."""
    subject = str(row["benefit_id"])
    tx.emit(
        BenefitExpired(**_of(row), expires_at=row["expires_at"]),
        subject=subject,
        sequence=row["event_sequence"],
        item=item,
    )
    tx.audit("benefit.expire", f"benefit/{subject}", item=item, after={"expires_at": row["expires_at"]})


def _of(row: Any) -> dict[str, Any]:
    names = ("benefit_id", "wallet_id", "member_id", "programme", "reward", "version")
    cost = Money(row["unit_cost_minor"], row["currency"])
    return {**{name: row[name] for name in names}, "kind": issued_as(row).kind, "unit_cost": cost}
