"""The answer to an act, as over HTTP."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.earn.domain.acts.judge import ActDecision
from shared.events import BillAccrual

_encode = msgspec.json.Encoder().encode


class ActAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an act."""

    act_id: UUID
    status: str
    act: str
    act_ref: str
    merchant: str | None
    occurred_at: datetime
    accruals: tuple[BillAccrual, ...]


def answer_body(act_id: UUID, row: Any, decision: ActDecision) -> bytes:
    """The answer to an act as JSON; `row` has its act, act_ref, merchant and occurred_at."""
    return _encode(
        ActAnswer(
            act_id=act_id,
            status=decision.status,
            act=row["act"],
            act_ref=row["act_ref"],
            merchant=row["merchant"],
            occurred_at=row["occurred_at"],
            accruals=decision.told(),
        )
    )
