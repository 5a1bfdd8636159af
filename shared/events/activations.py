"""What earn says of activations that tills tell by their stream."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from shared.events.bills import OfferedBy
from shared.events.envelope import EventData


class ActivationAnswer(EventData, frozen=True, kw_only=True):
    """The answer to an activation, with the entry that told it. `occurred_at` is the till's. Status activated or waiting_for_bill;
    without a bill its `bill_id` is null."""

    bill_id: UUID | None
    status: str
    merchant: str
    bill_ref: str
    occurred_at: datetime
    stream_id: str
    source: str
    event_id: str


class ActivationRecorded(ActivationAnswer, frozen=True, kw_only=True):
    """Subject: `activation/`, the merchant and the bill's reference. The first word about a bill."""

    TYPE: ClassVar[str] = "activation.recorded.v1"
    SOURCE: ClassVar[str] = "/earn"


class ActivationSettled(ActivationAnswer, frozen=True, kw_only=True):
    """The same subject: a bill has come whose activation was told before it. `also_offered_by` as of a bill."""

    TYPE: ClassVar[str] = "activation.settled.v1"
    SOURCE: ClassVar[str] = "/earn"
    also_offered_by: tuple[OfferedBy, ...] | msgspec.UnsetType = msgspec.UNSET
