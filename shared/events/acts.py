"""What earn says of acts besides bills: the answer to each, and what it can't take."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from shared.events.bills import BillAccrual, OfferedBy, RejectedField
from shared.events.envelope import EventData


class ActAnswer(EventData, frozen=True, kw_only=True):
    """The answer to an act, as over HTTP; by stream it also names the entry and the teller's own id."""

    act_id: UUID
    status: str
    act: str
    act_ref: str
    merchant: str | None
    occurred_at: datetime
    accruals: tuple[BillAccrual, ...]
    stream_id: str | None = None
    source: str | None = None
    event_id: str | None = None


class ActRecorded(ActAnswer, frozen=True, kw_only=True):
    """Subject: the act_id. Status earned, nothing or waiting."""

    TYPE: ClassVar[str] = "act.recorded.v1"
    SOURCE: ClassVar[str] = "/earn"


class ActSettled(ActAnswer, frozen=True, kw_only=True):
    """Subject: the act_id. A waiting act told again: judged at last, or unclaimed. `also_offered_by` as of a bill."""

    TYPE: ClassVar[str] = "act.settled.v1"
    SOURCE: ClassVar[str] = "/earn"
    also_offered_by: tuple[OfferedBy, ...] | msgspec.UnsetType = msgspec.UNSET


class ActRejected(EventData, frozen=True, kw_only=True):
    """Subject: `act/` and the act's reference, or the entry's stream id where it could not be read."""

    TYPE: ClassVar[str] = "act.rejected.v1"
    SOURCE: ClassVar[str] = "/earn"
    stream_id: str
    source: str | None
    event_id: str | None
    merchant: str | None
    act_ref: str | None
    code: str
    detail: str
    errors: tuple[RejectedField, ...] = ()
