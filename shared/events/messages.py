"""What notifier says: a message reached its channel."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.events.envelope import EventData


class MessageDelivered(EventData, frozen=True, kw_only=True):
    """Subject: the message_id. `cause` is the id of the event that the message tells of."""

    TYPE: ClassVar[str] = "message.delivered.v1"
    SOURCE: ClassVar[str] = "/notifier"
    message_id: str
    member_id: UUID
    wallet_id: UUID
    channel: str
    template: str
    locale: str
    cause: str
    delivered_at: datetime
