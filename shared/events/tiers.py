"""What tiers says: a wallet reached, or lost, a tier."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.events.envelope import EventData


class TierChanged(EventData, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Subject: the wallet_id. `from_` (on the wire `from`) is null for the first tier.

    `direction` is entry, up, down (points were taken back, or the tier before is over), kept (only `until` moved) or moved (the old
    tier is no longer on the ladder).
    """

    TYPE: ClassVar[str] = "tier.changed.v1"
    SOURCE: ClassVar[str] = "/tiers"
    wallet_id: UUID
    member_id: UUID
    programme: str
    programme_version: int
    from_: str | None
    to: str
    name: dict[str, str]
    benefits: tuple[str, ...]
    metric: str
    numbers: dict[str, int]
    effective_at: datetime
    until: datetime | None
    direction: str = "up"
