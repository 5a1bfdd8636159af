"""Events of those who follow the bank: tiers and the notifier."""

from __future__ import annotations

from datetime import datetime

import msgspec


class TierChanged(msgspec.Struct, frozen=True, gc=False, rename={"from_": "from"}):
    wallet_id: str
    member_id: str
    programme: str
    programme_version: int
    from_: str | None
    to: str
    name: dict[str, str]
    direction: str
    numbers: dict[str, int]
    effective_at: datetime
    until: datetime | None


class MessageDelivered(msgspec.Struct, frozen=True, gc=False):
    message_id: str
    member_id: str
    wallet_id: str
    channel: str
    template: str
    locale: str
    cause: str
    delivered_at: datetime
