"""Events of earn: bills, refunds, activations, acts, accruals, what is asked of the bank."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from pointbank.verify.events.envelope import Worth


class BillAccrual(msgspec.Struct, frozen=True, gc=False):
    programme: str
    programme_version: int
    wallet_id: str
    tier: str | None
    available: Worth
    held: Worth

    def row(self) -> tuple[Any, ...]:
        """As it is compared."""
        return (
            self.programme,
            self.programme_version,
            self.wallet_id,
            self.tier,
            self.available.points,
            self.available.money.amount_minor,
            self.held.points,
            self.held.money.amount_minor,
        )


class OfferedBy(msgspec.Struct, frozen=True, gc=False):
    stream_id: str
    source: str
    event_id: str


class BillAnswer(msgspec.Struct, frozen=True, gc=False):
    bill_id: str
    status: str
    merchant: str
    bill_ref: str
    occurred_at: datetime
    accruals: tuple[BillAccrual, ...]
    stream_id: str | None = None
    source: str | None = None
    event_id: str | None = None
    also_offered_by: tuple[OfferedBy, ...] = ()


class ActAnswer(msgspec.Struct, frozen=True, gc=False):
    act_id: str
    status: str
    act: str
    act_ref: str
    merchant: str | None
    occurred_at: datetime
    accruals: tuple[BillAccrual, ...]
    stream_id: str | None = None
    source: str | None = None
    event_id: str | None = None
    also_offered_by: tuple[OfferedBy, ...] = ()


class ActivationAnswer(msgspec.Struct, frozen=True, gc=False):
    bill_id: str | None
    status: str
    merchant: str
    bill_ref: str
    occurred_at: datetime
    stream_id: str
    source: str
    event_id: str
    also_offered_by: tuple[OfferedBy, ...] = ()


class BillRejected(msgspec.Struct, frozen=True, gc=False):
    code: str
    stream_id: str
    source: str | None
    event_id: str | None


class RefundReversal(msgspec.Struct, frozen=True, gc=False):
    programme: str
    wallet_id: str
    reversed: Worth
    hold_cancelled: Worth
    returned: Worth
    shortfall: Worth
    owed: Worth
    lapsed: Worth

    def row(self) -> tuple[Any, ...]:
        """As it is compared."""
        sums = (self.reversed, self.hold_cancelled, self.returned, self.shortfall, self.owed, self.lapsed)
        return (
            self.programme,
            self.wallet_id,
            *[number for one in sums for number in (one.points, one.money.amount_minor)],
        )


class RefundAnswer(msgspec.Struct, frozen=True, gc=False):
    refund_id: str
    merchant: str
    refund_ref: str
    status: str
    currency: str
    reversals: tuple[RefundReversal, ...]
    bill_id: str | None = None
    refunded_minor: int | None = None
    code: str | None = None
    detail: str | None = None
    stream_id: str | None = None
    source: str | None = None
    event_id: str | None = None
    also_offered_by: tuple[OfferedBy, ...] = ()


def entries_of(
    told: BillAnswer | ActAnswer | RefundAnswer | ActivationAnswer,
) -> tuple[tuple[str | None, str | None, str | None], ...]:
    """The entries of all tills that are told, the one that it came by first; one of nulls where there is none."""
    others = [(one.stream_id, one.source, one.event_id) for one in told.also_offered_by]
    return ((told.stream_id, told.source, told.event_id), *others)


class AccruedLot(msgspec.Struct, frozen=True, gc=False):
    lot_id: str
    points: int
    expires_at: datetime | None = None


class PointsAccrued(msgspec.Struct, frozen=True, gc=False):
    accrual_id: str
    kind: str
    bill_id: str | None
    member_id: str
    wallet_id: str
    programme: str
    programme_version: int
    currency: str
    point_value: str
    effective_at: datetime
    decided_at: datetime
    points: int
    lots: tuple[AccruedLot, ...]
    act_id: str | None = None


class Asked(msgspec.Struct, frozen=True, gc=False):
    """points.release_requested, points.reversal_requested and points.return_requested."""

    request_id: str
    effective_at: datetime
    decided_at: datetime
    bill_id: str | None = None
    refund_id: str | None = None
    accrual_id: str = ""
    wallet_id: str | None = None
    programme: str | None = None
    point_value: str | None = None
    on_spent: str | None = None
    release_through: int | None = None
    reverse_through: int | None = None
    returned_minor: int | None = None
    total_minor: int | None = None
    merchant: str | None = None
    bill_ref: str | None = None


class BenefitSource(msgspec.Struct, frozen=True, gc=False):
    kind: str
    code: str
    bill_id: str | None = None


class BenefitAsked(msgspec.Struct, frozen=True, gc=False):
    """benefit.asked and benefit.withdrawal_asked."""

    effect_id: str
    issued_by: str | None = None
    wallet_id: str | None = None
    member_id: str | None = None
    programme: str | None = None
    reward: str | None = None
    source: BenefitSource | None = None
    effective_at: datetime | None = None


class AccrualsOfProgramme(msgspec.Struct, frozen=True, gc=False):
    programme: str
    accruals: int
    points: int
    digest: str


class AccrualsDayTold(msgspec.Struct, frozen=True, gc=False):
    day: str
    programmes: tuple[AccrualsOfProgramme, ...]


SAYS: dict[str, type] = {
    "accruals.day_told.v1": AccrualsDayTold,
    "bill.recorded.v1": BillAnswer,
    "bill.settled.v1": BillAnswer,
    "bill.rejected.v1": BillRejected,
    "act.recorded.v1": ActAnswer,
    "act.settled.v1": ActAnswer,
    "act.rejected.v1": BillRejected,
    "activation.recorded.v1": ActivationAnswer,
    "activation.settled.v1": ActivationAnswer,
    "points.accrued.v1": PointsAccrued,
    "refund.recorded.v1": RefundAnswer,
    "refund.settled.v1": RefundAnswer,
    "points.return_requested.v1": Asked,
    "points.release_requested.v1": Asked,
    "points.reversal_requested.v1": Asked,
    "benefit.asked.v1": BenefitAsked,
    "benefit.withdrawal_asked.v1": BenefitAsked,
}
"""CloudEvents type -> what is read of its data."""
