"""What earn says: the answer to each bill, and the points it is worth."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from shared.events.envelope import EventData
from shared.money import Worth


class BillAccrual(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a bill is worth in one programme."""

    programme: str
    programme_version: int
    wallet_id: UUID
    tier: str | None
    available: Worth
    held: Worth


class BillAnswer(EventData, frozen=True, kw_only=True):
    """The answer to a bill, as over HTTP; by stream it also names the entry and the till's own id."""

    bill_id: UUID
    status: str
    merchant: str
    bill_ref: str
    occurred_at: datetime
    accruals: tuple[BillAccrual, ...]
    stream_id: str | None = None
    source: str | None = None
    event_id: str | None = None


class OfferedBy(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry that offered a bill or an act: its stream id, and the teller's own source and id."""

    stream_id: str
    source: str
    event_id: str


class BillRecorded(BillAnswer, frozen=True, kw_only=True):
    """Subject: the bill_id. Status earned, held, mixed, nothing, anonymous or waiting."""

    TYPE: ClassVar[str] = "bill.recorded.v1"
    SOURCE: ClassVar[str] = "/earn"


class BillSettled(BillAnswer, frozen=True, kw_only=True):
    """Subject: the bill_id. A waiting bill told again: judged at last, or unclaimed. `also_offered_by`: other entries that
    offered it while it waited; each of their tills is told, under the same event id."""

    TYPE: ClassVar[str] = "bill.settled.v1"
    SOURCE: ClassVar[str] = "/earn"
    also_offered_by: tuple[OfferedBy, ...] | msgspec.UnsetType = msgspec.UNSET


class RejectedField(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    pointer: str
    code: str
    detail: str


class BillRejected(EventData, frozen=True, kw_only=True):
    """Subject: merchant/bill_ref, or the entry's stream id where the bill could not be read."""

    TYPE: ClassVar[str] = "bill.rejected.v1"
    SOURCE: ClassVar[str] = "/earn"
    stream_id: str
    source: str | None
    event_id: str | None
    merchant: str | None
    bill_ref: str | None
    code: str
    detail: str
    errors: tuple[RejectedField, ...] = ()


class AccruedLot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`expires_at` null: never."""

    lot_id: UUID
    points: int
    expires_at: datetime | None = None


class PointsAccrued(EventData, frozen=True, kw_only=True, omit_defaults=True):
    """Subject: the bill_id, or the act_id of what was no bill: one of both is null. `accrual_id` is the permanent key: the
    bank posts it once. Kind earn or earn_held."""

    TYPE: ClassVar[str] = "points.accrued.v1"
    SOURCE: ClassVar[str] = "/earn"
    accrual_id: UUID
    kind: str
    bill_id: UUID | None
    member_id: UUID
    wallet_id: UUID
    programme: str
    programme_version: int
    currency: str
    point_value: str
    effective_at: datetime
    decided_at: datetime
    points: int
    lots: tuple[AccruedLot, ...]
    act_id: UUID | None = None

    @property
    def source_id(self) -> UUID | None:
        """The bill or the act that earned it."""
        return self.act_id if self.bill_id is None else self.bill_id


class AccrualsOfProgramme(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many accruals there were, their points, and their digest in hexadecimal (shared/tally.py says of what)."""

    programme: str
    accruals: int
    points: int
    digest: str


class AccrualsDayTold(EventData, frozen=True, kw_only=True):
    """Subject: the day. All accruals that were decided on a UTC day that is over, by programme; each was told before. A day is
    told again, with a higher sequence, only where another count was found. A programme that is missing had none."""

    TYPE: ClassVar[str] = "accruals.day_told.v1"
    SOURCE: ClassVar[str] = "/earn"
    day: date
    programmes: tuple[AccrualsOfProgramme, ...]
