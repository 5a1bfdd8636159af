"""What earn asks of the bank: cumulative targets, never differences, so that a repeat or a late one changes nothing.

The bank answers each, also where nothing had to move: `PointsReleased`, `PointsReversed` or `ReversalRefused`,
`PointsReturned`, by the same `request_id`. A request about an accrual that the bank has not heard of yet is awaited.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from shared.events.envelope import EventData

OnSpent = Literal["block", "partial", "debt"]


class ReleaseRequested(EventData, frozen=True, kw_only=True):
    """Subject: the bill_id. `release_through`: how many points of the held accrual are to be available in all by now."""

    TYPE: ClassVar[str] = "points.release_requested.v1"
    SOURCE: ClassVar[str] = "/earn"
    request_id: UUID
    bill_id: UUID | None
    accrual_id: UUID
    wallet_id: UUID
    programme: str
    release_through: int
    effective_at: datetime
    decided_at: datetime


class ReversalRequested(EventData, frozen=True, kw_only=True):
    """Subject: the bill_id. `reverse_through`: how many points of the accrual are to be taken back in all by now: those
    still held first, then those available; what was spent follows `on_spent`."""

    TYPE: ClassVar[str] = "points.reversal_requested.v1"
    SOURCE: ClassVar[str] = "/earn"
    request_id: UUID
    refund_id: UUID | None
    bill_id: UUID | None
    accrual_id: UUID
    wallet_id: UUID
    programme: str
    currency: str
    point_value: str
    reverse_through: int
    on_spent: OnSpent
    effective_at: datetime
    decided_at: datetime


class ReturnRequested(EventData, frozen=True, kw_only=True):
    """Subject: the bill_id. The points that paid for a bill come back in proportion: of each captured redemption at
    (merchant, bill_ref), in all by now, the floor of its points x returned_minor / total_minor."""

    TYPE: ClassVar[str] = "points.return_requested.v1"
    SOURCE: ClassVar[str] = "/earn"
    request_id: UUID
    refund_id: UUID
    bill_id: UUID
    merchant: str
    bill_ref: str
    returned_minor: int
    total_minor: int
    effective_at: datetime
    decided_at: datetime
