"""What earn says of refunds: the answer to each, at once and when the bank has answered."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

import msgspec

from shared.events.bills import OfferedBy
from shared.events.envelope import EventData
from shared.money import Worth


class RefundReversal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a refund did to one wallet: taken from the available, from the held; given back of the points that paid; what
    was spent and stays so; what became debt; what had expired before it could be taken back."""

    programme: str
    wallet_id: UUID
    reversed: Worth
    hold_cancelled: Worth
    returned: Worth
    shortfall: Worth
    owed: Worth
    lapsed: Worth


class RefundAnswer(EventData, frozen=True, kw_only=True):
    """The answer to a refund, as over HTTP; by stream it also names the entry and the till's own id.

    `bill_id` and `refunded_minor` are null while the bill has not come; `code` and `detail` say why it was refused.
    """

    refund_id: UUID
    bill_id: UUID | None
    merchant: str
    refund_ref: str
    status: str
    refunded_minor: int | None
    currency: str
    reversals: tuple[RefundReversal, ...]
    code: str | None = None
    detail: str | None = None
    stream_id: str | None = None
    source: str | None = None
    event_id: str | None = None


class RefundRecorded(RefundAnswer, frozen=True, kw_only=True):
    """Subject: the refund_id. Status pending, waiting_for_bill, completed or refused."""

    TYPE: ClassVar[str] = "refund.recorded.v1"
    SOURCE: ClassVar[str] = "/earn"


class RefundSettled(RefundAnswer, frozen=True, kw_only=True):
    """Subject: the refund_id. A refund that was pending or waiting told again: completed, or refused. `also_offered_by`
    as of a bill."""

    TYPE: ClassVar[str] = "refund.settled.v1"
    SOURCE: ClassVar[str] = "/earn"
    also_offered_by: tuple[OfferedBy, ...] | msgspec.UnsetType = msgspec.UNSET
