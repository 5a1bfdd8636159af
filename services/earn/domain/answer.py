"""The answer to a bill, as over HTTP."""

from datetime import datetime
from uuid import UUID

import msgspec

from services.earn.domain.decision import Decision
from shared.events import BillAccrual


class BillAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a bill."""

    bill_id: UUID
    status: str
    merchant: str
    bill_ref: str
    occurred_at: datetime
    accruals: tuple[BillAccrual, ...]


_encode = msgspec.json.Encoder().encode


def answer_of(
    bill_id: UUID, *, merchant: str, bill_ref: str, occurred_at: datetime, decision: Decision
) -> BillAnswer:
    """The answer that this decision gives."""
    return BillAnswer(
        bill_id=bill_id,
        status=decision.status,
        merchant=merchant,
        bill_ref=bill_ref,
        occurred_at=occurred_at,
        accruals=decision.told(),
    )


def body(told: BillAnswer) -> bytes:
    """The answer as JSON."""
    return _encode(told)
